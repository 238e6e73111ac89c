"""SegRap2025 gives two phases of CT, cohorts as sites, and patients with one phase."""

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
    scans(
        root / "Internal_Cohort",
        *("imagesTr/0001_0000.nii.gz", "imagesTr/0001_0001.nii.gz", "labelsTr/0001.nii.gz"),
        *("imagesTr/0002_0001.nii.gz", "labelsTr/0002.nii.gz"),
        *("imagesTs/0003_0000.nii.gz", "imagesTs/0003_0001.nii.gz"),
    )
    scans(root / "Testing_Cohort_1", "imagesTs/0001_0000.nii.gz", "labelsTs/0001.nii.gz")
    scans(root / "Testing_Cohort_4", "imagesTr/0009_0001.nii.gz", "labelsTr/0009.nii.gz")
    (root / "Inter_annotation").mkdir()
    return root


def test_phases_are_modalities_and_cohorts_are_sites(tmp_path: Path) -> None:
    root = tree(tmp_path / "LNCTVSeg-DataSet")
    cases = read_manifest(import_cohort("segrap", root, tmp_path / "out"))
    assert [(c.id, c.site, c.split, sorted(c.volumes), c.label is None) for c in cases] == [
        ("Internal_Cohort_0001", "Internal_Cohort", "train", ["ct_ce", "ct_nc"], False),
        ("Internal_Cohort_0002", "Internal_Cohort", "train", ["ct_ce"], False),
        ("Internal_Cohort_0003", "Internal_Cohort", "test", ["ct_ce", "ct_nc"], True),
        ("Testing_Cohort_1_0001", "Testing_Cohort_1", "test", ["ct_nc"], False),
        ("Testing_Cohort_4_0009", "Testing_Cohort_4", "test", ["ct_ce"], False),
    ]
    assert cases[0].volumes["ct_nc"].name == "0001_0000.nii.gz"


def test_a_damaged_phase_leaves_out_its_case(tmp_path: Path) -> None:
    root = tree(tmp_path / "in" / "LNCTVSeg-DataSet")
    (root / "Testing_Cohort_1" / "imagesTs" / "0001_0000.nii.gz").write_bytes(b"x")
    cases = read_manifest(import_cohort("segrap", root.parent, tmp_path / "out"))
    assert len(cases) == 4
    with pytest.raises(DataError, match=f"try {root}"):
        import_cohort("segrap", root / "Internal_Cohort", tmp_path / "out")
