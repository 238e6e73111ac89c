"""Longitudinal-CT gives each scan of a patient as a case, numbered lesions as one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.notes import read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import notes_file, read_manifest

GRID = Grid.from_spacing((3, 4, 5), (3.0, 0.8, 0.8))


def scan(file: Path, *values: int) -> None:
    """Write a scan that holds some values, one in each voxel of the first row."""
    array = np.zeros(GRID.shape, np.int16)
    array[1, 1, : len(values)] = values
    write_volume(file, array, GRID)


def tree(root: Path, long: bool = True) -> Path:
    def name(patient: str, visit: str, kind: str, number: str) -> str:
        middle = f"_{visit}_img" if long else ""
        return f"{patient}_{visit}_{kind}{middle}_{number}.nii.gz"

    scan(root / "inputsTr" / name("93dd4de5cd", "BL", "img", "00"))
    scan(root / "inputsTr" / name("93dd4de5cd", "BL", "mask", "00"), 1, 2, 7)
    scan(root / "inputsTr" / name("93dd4de5cd", "FU", "img", "00"))
    scan(root / "inputsTr" / name("93dd4de5cd", "FU", "img", "01"))
    scan(root / "targetsTr" / name("93dd4de5cd", "FU", "mask", "00"), 2)
    scan(root / "targetsTr" / name("93dd4de5cd", "FU", "mask", "01"))
    scan(root / "inputsTr" / name("0a09c8844b", "BL", "img", "00"))
    (root / "inputsTr" / "93dd4de5cd_BL_00.json").write_text("{}")
    (root / "inputsTr" / "93dd4de5cd.csv").write_text("lesion_id,lesion_type\n1,Lymph node\n")
    return root


@pytest.mark.parametrize("long", [True, False])
def test_each_scan_is_a_case_of_its_patient(tmp_path: Path, long: bool) -> None:
    root = tree(tmp_path / "in" / "Longitudinal-CT", long)
    path = import_cohort("longitudinal_ct", tmp_path / "in", tmp_path / "out")
    cases = {case.id: case for case in read_manifest(path)}
    assert {name: case.patient for name, case in cases.items()} == {
        "0a09c8844b_BL_00": "0a09c8844b",
        "93dd4de5cd_BL_00": "93dd4de5cd",
        "93dd4de5cd_FU_00": "93dd4de5cd",
        "93dd4de5cd_FU_01": "93dd4de5cd",
    }
    assert cases["0a09c8844b_BL_00"].label is None
    first = cases["93dd4de5cd_BL_00"]
    assert first.volumes["ct"].parent == root / "inputsTr"
    assert "_BL_img" in first.volumes["ct"].name
    assert first.label is not None
    label = read_label(first.label).array
    assert np.unique(label).tolist() == [0, 1]
    assert int(label.sum()) == 3
    assert "3 lesions" in next(
        note.text for note in read_notes(notes_file(path)) if note.case == first.id
    )


def test_a_mask_without_its_scan_is_left_out_by_name(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    scan(root / "targetsTr" / "ffff_FU_mask_FU_img_00.nii.gz", 1)
    path = import_cohort("longitudinal_ct", root, tmp_path / "out")
    (entry,) = read_json(path.with_name("import.json"))["left_out"]
    assert entry["case"] == "ffff_FU_00"
    assert "a case must have a scan" in entry["reason"]


def test_another_layout_is_refused(tmp_path: Path) -> None:
    scan(tmp_path / "raw" / "imagesTr" / "a_0000.nii.gz")
    with pytest.raises(DataError, match="must hold inputsTr with"):
        import_cohort("longitudinal_ct", tmp_path / "raw", tmp_path / "out")
