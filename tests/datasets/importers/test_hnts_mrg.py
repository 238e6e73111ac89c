"""HNTS-MRG gives two visits of each patient, with nodes as class 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import notes_file, read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 0.5, 0.5))


def scans(root: Path, *names: str) -> Path:
    """Write a small scan of zeros for each name."""
    for name in names:
        write_volume(root / f"{name}.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    return root


def tree(root: Path) -> Path:
    for patient in ("2", "10", "201"):
        scans(root / patient / "preRT", f"{patient}_preRT_T2", f"{patient}_preRT_mask")
        scans(
            root / patient / "midRT",
            *(f"{patient}_midRT_T2", f"{patient}_midRT_mask"),
            *(f"{patient}_preRT_T2_registered", f"{patient}_preRT_mask_registered"),
        )
    return root


def test_each_visit_is_a_case_of_the_same_patient(tmp_path: Path) -> None:
    root = tree(tmp_path / "in" / "HNTSMRG24_train")
    cases = read_manifest(import_cohort("hnts_mrg", tmp_path / "in", tmp_path / "out"))
    assert [(case.id, case.patient) for case in cases] == [
        (f"{patient}_{visit}", patient)
        for patient in ("10", "2", "201")
        for visit in ("midRT", "preRT")
    ]
    assert cases[2].volumes == {"mr_t2": root / "2" / "midRT" / "2_midRT_T2.nii.gz"}
    assert cases[2].label == root / "2" / "midRT" / "2_midRT_mask.nii.gz"
    assert cases[3].label == root / "2" / "preRT" / "2_preRT_mask.nii.gz"
    notes = read_notes(notes_file(tmp_path / "out" / "manifest.csv"))
    assert {note.severity for note in notes} == {"info"}
    assert {note.case for note in notes} == {"2_midRT", "10_midRT", "201_midRT"}


def test_the_first_scan_can_be_given_to_the_second_visit(tmp_path: Path) -> None:
    names = {"preRT_T2_registered": "mr_t2_pre"}
    path = import_cohort("hnts_mrg", tree(tmp_path / "raw"), tmp_path / "out", names)
    cases = {case.id: case for case in read_manifest(path)}
    assert list(cases["2_midRT"].volumes) == ["mr_t2", "mr_t2_pre"]
    assert cases["2_midRT"].volumes["mr_t2_pre"].name == "2_preRT_T2_registered.nii.gz"
    assert list(cases["2_preRT"].volumes) == ["mr_t2"]


def test_another_layout_is_refused(tmp_path: Path) -> None:
    scans(tmp_path / "raw" / "2", "2_preRT_T2")
    with pytest.raises(DataError, match="must hold <id>/preRT/"):
        import_cohort("hnts_mrg", tmp_path / "raw", tmp_path / "out")
