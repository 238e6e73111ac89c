"""Any table of files becomes a manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / name, np.zeros(GRID.shape, np.int16), GRID)
    return root


NAMES = {"Subject ID": "case", "CT file": "ct", "PT=SUV": "pet", "Mask": "label", "Centre": "site"}


def write(root: Path, text: str, name: str = "cohort.csv") -> Path:
    scans(root, "ct 1.nii.gz", "pet,1.nii.gz", "mask.nii.gz", "ct2.nii.gz")
    (root / name).write_text(text, encoding="utf-8-sig")
    return root / name


@pytest.mark.parametrize(("name", "sign"), [("c.csv", ","), ("c.tsv", "\t"), ("c.csv", ";")])
def test_columns_are_mapped_whatever_separates_them(tmp_path: Path, name: str, sign: str) -> None:
    rows = [
        ["Subject ID", "Age", "CT file", "PT=SUV", "Mask", "Centre", "split", "patient"],
        ["S/1 ä", "61", "ct 1.nii.gz", '"pet,1.nii.gz"', "mask.nii.gz", "Zürich", "train", "P1"],
        [],
        ["2", "", "ct2.nii.gz", "", "", "", "TEST"],
    ]
    table = write(tmp_path / "raw", "\n".join(sign.join(row) for row in rows), name)
    path = import_cohort("table", table, tmp_path / "out", NAMES)
    first, second = read_manifest(path)
    assert (first.id, first.patient, first.site, first.split) == ("S_1_a", "P1", "Zürich", "train")
    assert first.volumes == {
        "ct": tmp_path / "raw" / "ct 1.nii.gz",
        "pet": tmp_path / "raw" / "pet,1.nii.gz",
    }
    assert first.label == tmp_path / "raw" / "mask.nii.gz"
    assert (second.id, second.patient, second.split) == ("2", "2", "test")
    assert (list(second.volumes), second.label) == (["ct"], None)


def test_paths_can_be_relative_to_another_folder(tmp_path: Path) -> None:
    scans(tmp_path / "scans", "a.nii.gz")
    table = write(tmp_path / "raw", "patient,ct,partial\nx,a.nii.gz,yes\n")
    options = ["folder=../scans"]
    (case,) = read_manifest(import_cohort("table", table, tmp_path / "out", options=options))
    assert (case.id, case.volumes["ct"], case.partial) == (
        "x",
        tmp_path / "scans" / "a.nii.gz",
        True,
    )


def test_a_bad_row_is_left_out_by_its_number(tmp_path: Path) -> None:
    text = (
        "case,ct,split\na,ct2.nii.gz,\n,ct2.nii.gz,\na,ct2.nii.gz,\nb,none.nii.gz,\n"
        "c,ct2.nii.gz,half\nd,,\n"
    )
    lines: list[str] = []
    path = import_cohort("table", write(tmp_path / "raw", text), tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["a"]
    report = "\n".join(lines)
    for part in (
        "left out 5 of 6",
        "row 3: a row must name its case",
        "row 4: a case may stand in one row only",
        "case b: ",
        "row 6: split must be train, test or empty, found 'half'",
        "row 7: a case must have at least one modality",
    ):
        assert part in report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,scan\na,b\n", "a column for the case or patient and one for a modality, found case"),
        ("name,ct\na,b\n", "as in --name 'Subject=case'"),
        ("case,ct,CT\na,b,c\n", "one column may be ct, found ct, CT"),
        ("", "the table must have rows"),
        ('case,ct\n"a,b\n', "must be CSV or TSV"),
    ],
)
def test_a_table_that_leads_nowhere_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_cohort("table", write(tmp_path / "raw", text), tmp_path / "out")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the table must be a file"):
        import_cohort("table", tmp_path, tmp_path / "out")
    (tmp_path / "x.csv").write_bytes(b"case,ct\n\xff\xfe,\x00\n")
    with pytest.raises(DataError, match="text in UTF-8"):
        import_cohort("table", tmp_path / "x.csv", tmp_path / "out")
