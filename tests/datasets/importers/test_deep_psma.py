"""DEEP-PSMA gives two studies of each patient, by tracer."""

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


def tree(root: Path) -> Path:
    for patient in ("train_0001", "train_0002"):
        for tracer in ("PSMA", "FDG"):
            names = ("CT.nii.gz", "PET.nii.gz", "TTB.nii.gz", "totseg_24.nii.gz")
            scans(root / patient / tracer, *names)
            (root / patient / tracer / "threshold.json").write_text('{"suv_threshold": 3.0}')
            (root / patient / tracer / "rigid.tfm").touch()
    return root


def test_each_tracer_is_a_case_of_the_same_patient(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    cases = read_manifest(import_cohort("deep_psma", root, tmp_path / "out"))
    assert [(case.id, case.patient, sorted(case.volumes)) for case in cases] == [
        ("train_0001_fdg", "train_0001", ["ct", "pet_fdg"]),
        ("train_0001_psma", "train_0001", ["ct", "pet_psma"]),
        ("train_0002_fdg", "train_0002", ["ct", "pet_fdg"]),
        ("train_0002_psma", "train_0002", ["ct", "pet_psma"]),
    ]
    assert cases[1].volumes["ct"] == root / "train_0001" / "PSMA" / "CT.nii.gz"
    assert cases[1].label == root / "train_0001" / "PSMA" / "TTB.nii.gz"


def test_tracers_can_be_taken_for_one(tmp_path: Path) -> None:
    names = {"pet_psma": "pet", "pet_fdg": "pet"}
    path = import_cohort("deep_psma", tree(tmp_path / "raw"), tmp_path / "out", names)
    assert {tuple(sorted(case.volumes)) for case in read_manifest(path)} == {("ct", "pet")}


def test_a_missing_tracer_or_scan_stops_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    for file in (root / "train_0001" / "FDG").iterdir():
        file.unlink()
    (root / "train_0002" / "FDG" / "CT.nii.gz").unlink()
    (root / "train_0002" / "PSMA" / "PET.nii.gz").write_bytes(b"x")
    lines: list[str] = []
    path = import_cohort("deep_psma", root, tmp_path / "out", say=lines.append)
    assert [(case.id, sorted(case.volumes)) for case in read_manifest(path)] == [
        ("train_0001_psma", ["ct", "pet_psma"]),
        ("train_0002_fdg", ["pet_fdg"]),
    ]
    assert "left out 2 of 4 cases:" in lines
    with pytest.raises(DataError, match=f"try {root}"):
        import_cohort("deep_psma", root / "train_0002", tmp_path / "out")
