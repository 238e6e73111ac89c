"""HECKTOR of 2022, 2025 and 2026 is read as it was published."""

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


def tree_2022(root: Path) -> Path:
    return scans(
        root,
        *("imagesTr/CHUM-001__CT.nii.gz", "imagesTr/CHUM-001__PT.nii.gz"),
        *("imagesTr/MDA-130__CT.nii.gz", "imagesTr/MDA-130__PT.nii.gz"),
        *("labelsTr/CHUM-001.nii.gz", "labelsTr/MDA-130.nii.gz"),
        *("imagesTs/HMR-007__CT.nii.gz", "imagesTs/HMR-007__PT.nii.gz"),
    )


def tree_2025(root: Path) -> Path:
    scans(
        root / "Task 1",
        *(f"CHUM-001/CHUM-001{end}.nii.gz" for end in ("__CT", "__PT", "")),
        *(f"CHUP-002/CHUP-002{end}.nii.gz" for end in ("__CT", "__PT")),
        "USZ-003/USZ-003__PT.nii.gz",
    )
    (root / "Task 1" / "HECKTOR_2025_Training_Task_1.csv").write_text("PatientID\nCHUM-001\n")
    scans(
        root / "Task 2",
        *(f"CHUM-001/CHUM-001{end}.nii.gz" for end in ("__CT", "__PT", "__CTPlanning")),
    )
    return root


def test_2022_gives_centres_as_sites_and_an_unlabelled_test_set(tmp_path: Path) -> None:
    root = tree_2022(tmp_path / "hecktor2022_training")
    cases = read_manifest(import_cohort("hecktor", root, tmp_path / "out"))
    assert [(c.id, c.patient, c.site, c.split) for c in cases] == [
        ("CHUM-001", "CHUM-001", "CHUM", "train"),
        ("MDA-130", "MDA-130", "MDA", "train"),
        ("HMR-007", "HMR-007", "HMR", "test"),
    ]
    assert cases[0].volumes == {
        "ct": root / "imagesTr" / "CHUM-001__CT.nii.gz",
        "pet": root / "imagesTr" / "CHUM-001__PT.nii.gz",
    }
    assert [c.label and c.label.name for c in cases] == ["CHUM-001.nii.gz", "MDA-130.nii.gz", None]
    assert not (tmp_path / "out" / "cases").exists(), "nothing has to be converted"


@pytest.mark.parametrize("below", ["", "Task 1"])
def test_2025_is_read_from_task_1(tmp_path: Path, below: str) -> None:
    root = tree_2025(tmp_path / "hecktor2025_training")
    cases = read_manifest(import_cohort("hecktor", root / below, tmp_path / "out"))
    assert [(c.id, c.site, sorted(c.volumes)) for c in cases] == [
        ("CHUM-001", "CHUM", ["ct", "pet"]),
        ("CHUP-002", "CHUP", ["ct", "pet"]),
        ("USZ-003", "USZ", ["pet"]),
    ]
    assert cases[0].label == root / "Task 1" / "CHUM-001" / "CHUM-001.nii.gz"
    assert cases[1].label is None


def test_2026_has_its_cases_right_inside(tmp_path: Path) -> None:
    root = tmp_path / "in" / "hecktor2026_training"
    scans(root, *(f"CHUM-001/CHUM-001{end}.nii.gz" for end in ("__CT", "__PT", "")))
    scans(root, *(f"MDA-130/MDA-130{end}.nii.gz" for end in ("__CT", "__PT")))
    (root / "HECKTOR_2026_Training_Task.csv").write_text("PatientID,CenterID\nCHUM-001,1\n")
    cases = read_manifest(import_cohort("hecktor", root.parent, tmp_path / "out"))
    assert [(c.id, c.site, sorted(c.volumes), c.label is None) for c in cases] == [
        ("CHUM-001", "CHUM", ["ct", "pet"], False),
        ("MDA-130", "MDA", ["ct", "pet"], True),
    ]


def test_the_folder_above_the_release_is_taken_too(tmp_path: Path) -> None:
    tree_2025(tmp_path / "in" / "hecktor2025_training")
    path = import_cohort("hecktor", tmp_path / "in", tmp_path / "out")
    assert len(read_manifest(path)) == 3


def test_the_planning_ct_can_be_taken_by_name(tmp_path: Path) -> None:
    root = tree_2025(tmp_path / "raw") / "Task 2"
    path = import_cohort("hecktor", root, tmp_path / "out", {"CTPlanning": "ct_planning"})
    assert sorted(read_manifest(path)[0].volumes) == ["ct", "ct_planning", "pet"]


def test_a_damaged_scan_leaves_out_its_case_only(tmp_path: Path) -> None:
    root = tree_2022(tmp_path / "raw")
    (root / "imagesTr" / "MDA-130__PT.nii.gz").write_bytes(b"\x1f\x8b cut off")
    lines: list[str] = []
    path = import_cohort("hecktor", root, tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["CHUM-001", "HMR-007"]
    assert any("MDA-130: case MDA-130: " in line for line in lines)


def test_a_folder_too_deep_names_the_right_one(tmp_path: Path) -> None:
    root = tree_2022(tmp_path / "raw")
    with pytest.raises(DataError, match=f"must hold imagesTr with .*; try {root}$"):
        import_cohort("hecktor", root / "imagesTr", tmp_path / "out")
