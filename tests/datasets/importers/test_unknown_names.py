"""Files whose names nobody knows are named, unless they are skipped on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.core.notes import Note, read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import notes_file

GRID = Grid.from_spacing((2, 3, 4), (3, 2, 2))


def tree(root: Path, *names: str) -> Path:
    for name in names:
        write_volume(root / name, np.ones(GRID.shape, np.uint8), GRID)
    return root


def notes(root: Path, out: Path, names: dict[str, str] | None = None) -> list[Note]:
    return read_notes(notes_file(import_cohort("folder", root, out, names)))


@pytest.mark.parametrize(
    ("files", "names", "told"),
    [
        (["ct", "SUV"], {}, "SUV"),
        (["ct", "GTV"], {}, "GTV"),
        (["ct", "mr", "mr_seg"], {}, "mr_seg"),
        # A label may be lost: there is no other, or no such scan, or no such modality.
        (["ct", "pet", "label_pet"], {}, "label_pet"),
        (["ct", "pet", "label", "label_mr"], {}, "label_mr"),
        (["ct", "pet", "label", "label_old"], {}, "label_old"),
        (["ct", "pet", "label", "label_pet_2"], {}, "label_pet_2"),
        (["ct", "pet", "label", "label_pet"], {"pet": ""}, "label_pet"),
        (["ct", "SUV", "GTV"], {"suv": "pet"}, "GTV"),
        (["ct", "SUV", "GTV"], {"suv": "pet", "gtv": "label"}, ""),
        (["ct", "SUV", "GTV"], {"SUV": "", "GTV": ""}, ""),
        (["ct", "pet", "label"], {}, ""),
        (["ct", "pet"], {"pet": ""}, ""),
    ],
)
def test_a_file_that_no_case_uses_is_named(
    tmp_path: Path, files: list[str], names: dict[str, str], told: str
) -> None:
    root = tree(tmp_path / "raw", *(f"a/{name}.nii.gz" for name in files))
    found = notes(root, tmp_path / "out", names)
    assert [note.text.split(";")[0] for note in found] == [f"files passed over: {told}"][
        : bool(told)
    ]
    assert all(note.severity == "warning" and note.case == "a" for note in found)


@pytest.mark.parametrize(
    ("files", "names", "second"),
    [
        (["ct", "pet", "label", "label_pet"], {}, "label_pet"),
        (["ct", "pet", "label", "Label_PET"], {}, "Label_PET"),
        (["ct", "mr_t1", "pet", "label", "label_mr_t1", "label_pet"], {}, "label_mr_t1, label_pet"),
        (["ct", "SUV", "label", "label_suv"], {"suv": "pet"}, "label_suv"),
        (["ct", "SUV", "GTV", "label_pet"], {"suv": "pet", "gtv": "label"}, "label_pet"),
    ],
)
def test_the_label_of_another_scan_of_the_case_is_known(
    tmp_path: Path, files: list[str], names: dict[str, str], second: str
) -> None:
    root = tree(tmp_path / "raw", *(f"a/{name}.nii.gz" for name in files))
    (note,) = notes(root, tmp_path / "out", names)
    assert (note.severity, note.case) == ("info", "a")
    assert note.text.startswith(f"{second} beside the label")


def test_a_lost_label_is_told_with_the_name_that_takes_it(tmp_path: Path) -> None:
    (note,) = notes(tree(tmp_path, "a/ct.nii.gz", "a/label_ct.nii.gz"), tmp_path / "out")
    assert "--name label_ct=label," in note.text


def test_a_folder_without_a_known_name_is_left_out_by_name(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw", "a/ct.nii.gz", "b/SUV.nii.gz")
    lines: list[str] = []
    import_cohort("folder", root, tmp_path / "out", say=lines.append)
    assert any(line.startswith("  b: no file is named after a modality: suv") for line in lines)


def test_a_column_of_scans_that_means_nothing_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "x.nii.gz", "y.nii.gz")
    table = root / "t.csv"
    table.write_text("case,ct,SUV file,comment\na,x.nii.gz,y.nii.gz,fine\n")
    (note,) = read_notes(notes_file(import_cohort("table", table, tmp_path / "out")))
    assert note.text.startswith("column 'SUV file' of 1 scans passed over")
    assert "--name 'SUV file=pet'" in note.text
    skipped = import_cohort("table", table, tmp_path / "out", {"SUV file": ""})
    assert read_notes(notes_file(skipped)) == []
