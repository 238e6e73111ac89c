"""Fixtures of the tiny cohort, and one of two classes that not every case was labelled for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore

from ..tiny_cohort import config, manifest, store, threshold  # noqa: F401


@pytest.fixture(scope="session")
def two(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """Return a manifest of two classes; cases 1 and 2 were labelled for one of them each."""
    folder = tmp_path_factory.mktemp("two")
    cases = []
    for number, case in enumerate(read_manifest(manifest)):
        assert case.label is not None
        volume = read_label(case.label, case.id)
        label = volume.array.astype(np.uint8)
        depth = np.arange(label.shape[0])[:, None, None]
        middle = int(np.argwhere(label)[:, 0].mean())
        label[(label > 0) & (depth > middle)] = 2
        only: tuple[int, ...] = {1: (1,), 2: (2,), 4: (2,)}.get(number, ())
        if only:
            label[~np.isin(label, only)] = 0
        file = write_volume(folder / f"{case.id}.nii.gz", label, volume.grid)
        cases.append(
            Case(case.id, case.patient, case.volumes, file, "", case.split, annotated=only)
        )
    return write_manifest(folder / "manifest.csv", cases)


@pytest.fixture(scope="session")
def store_of_two(two: Path) -> CaseStore:
    settings = validate(PrepareSettings, {"spacing": (4, 4, 4), "modalities": ("ct", "pet")})
    return prepare(two, two.parent / "store", settings)
