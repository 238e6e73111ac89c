"""ENHANCE.PET is an unlabelled pool whose licence depends on the source."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.io.spreadsheet import read_sheet
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / name, np.zeros(GRID.shape, np.int16), GRID)
    return root


HEADER = ["Subject", "Sex", "Data-Source"]
ROWS = [["1", "F", "University Hospital Leipzig"], ["2", "M", "autoPET"], ["1001", "", "Elsewhere"]]
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def write_xlsx(path: Path, rows: list[list[str]]) -> Path:
    """Write a sheet as spreadsheet programs do: shared strings, numbers, empty cells left out."""
    strings = sorted({cell for row in rows for cell in row if cell and not cell.isdigit()})

    def cell(text: str, place: str) -> str:
        if not text:
            return ""
        kind = "" if text.isdigit() else ' t="s"'
        value = text if text.isdigit() else str(strings.index(text))
        return f'<c r="{place}"{kind}><v>{value}</v></c>'

    body = "".join(
        f'<row r="{i}">'
        + "".join(cell(t, f"{chr(65 + j)}{i}") for j, t in enumerate(row))
        + "</row>"
        for i, row in enumerate(rows, 1)
    )
    shared = "".join(f"<si><r><t>{s[:3]}</t></r><r><t>{s[3:]}</t></r></si>" for s in strings)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>',
        )
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{shared}</sst>')
    return path


def tree(root: Path) -> Path:
    scans(
        root / "imaging-data" / "images",
        *("CT_0001-1000/0001.nii.gz", "CT_0001-1000/0002.nii.gz", "CT_1001-1683/1001.nii.gz"),
        *("PT_0001-1683/0001.nii.gz", "PT_0001-1683/0002.nii.gz"),
    )
    scans(root / "imaging-data" / "ground-truth", "Organs/0001.nii.gz")
    write_xlsx(root / "PT-details.xlsx", [HEADER, *ROWS])
    return root


def test_the_pool_is_unlabelled_and_each_case_has_its_source(tmp_path: Path) -> None:
    lines: list[str] = []
    path = import_cohort("enhance_pet", tree(tmp_path / "raw"), tmp_path / "out", say=lines.append)
    cases = read_manifest(path)
    assert [(case.id, case.site, sorted(case.volumes)) for case in cases] == [
        ("0001", "University Hospital Leipzig", ["ct", "pet"]),
        ("0002", "autoPET", ["ct", "pet"]),
        ("1001", "Elsewhere", ["ct"]),
    ]
    assert all(case.label is None for case in cases)
    assert (tmp_path / "out" / "licences.csv").read_text().splitlines() == [
        "case,source,licence",
        "0001,University Hospital Leipzig,CC BY 4.0",
        "0002,autoPET,CC BY-NC 4.0",
        "1001,Elsewhere,unknown",
    ]
    assert "info: licences: CC BY 4.0 1, CC BY-NC 4.0 1, unknown 1" in lines


def test_the_other_release_and_a_missing_table_are_read_too(tmp_path: Path) -> None:
    root = scans(tmp_path / "raw", *(f"imaging-data/images/{m}/0001.nii.gz" for m in ("CT", "PT")))
    (root / "PT-details.xlsx").write_bytes(b"no table")
    lines: list[str] = []
    path = import_cohort("enhance_pet", root, tmp_path / "out", say=lines.append)
    assert [(case.id, case.site) for case in read_manifest(path)] == [("0001", "")]
    assert "info: licences: unknown 1" in lines


def test_a_damaged_scan_is_left_out_and_a_wrong_folder_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    (root / "imaging-data" / "images" / "PT_0001-1683" / "0002.nii.gz").write_bytes(b"x")
    path = import_cohort("enhance_pet", root, tmp_path / "out")
    assert [case.id for case in read_manifest(path)] == ["0001", "1001"]
    with pytest.raises(DataError, match=f"try {root}"):
        import_cohort("enhance_pet", root / "imaging-data" / "images", tmp_path / "out")


def test_a_sheet_keeps_its_empty_cells(tmp_path: Path) -> None:
    assert read_sheet(write_xlsx(tmp_path / "t.xlsx", [HEADER, *ROWS])) == [HEADER, *ROWS]
    for content in (b"", b"PK\x03\x04 cut"):
        (tmp_path / "bad.xlsx").write_bytes(content)
        with pytest.raises(DataError, match=r"must be \.xlsx"):
            read_sheet(tmp_path / "bad.xlsx")
