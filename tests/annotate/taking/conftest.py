"""A cohort with two patients without labels, its store, and proposals for the two."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hilum.annotate
from hilum.annotate.taking.take import Taken, take
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ...tiny_cohort import ENCODER, FUSION, SPACING, Threshold


@dataclass(frozen=True)
class Loop:
    """The folders of one round.

    Attributes:
        manifest: Its cohort.
        store: Prepared from it.
        proposals: For `case_0` and `case_1`.
        back: Where the labeller's files go.
    """

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.csv"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def proposals(self) -> Path:
        return self.folder / "proposals"

    @property
    def back(self) -> Path:
        return self.folder / "back"

    def proposed(self, case: str = "case_0") -> np.ndarray:
        return read_label(self.proposals / case / f"{case}.nii.gz").array

    def corrected(self, case: str = "case_0") -> np.ndarray:
        """Return the proposal with a slice of it cut away and a node added at a corner."""
        mask = self.proposed(case).copy()
        mask[np.flatnonzero(mask.any((1, 2)))[0]] = 0
        mask[1:3, 1:3, 1:3] = 1
        return mask

    def give(
        self, name: str, mask: np.ndarray, case: str = "case_0", dtype: Any = np.uint8
    ) -> Path:
        grid = read_label(self.proposals / case / f"{case}.nii.gz").grid
        return write_volume(self.back / name, mask, grid, dtype)

    def take(self, folder: Path | None = None, rater: str = "ana", **more: Any) -> Taken:
        more = {"store": self.store, **more}
        return take(folder or self.back, self.proposals, self.manifest, rater=rater, **more)

    def label(self, case: str = "case_0") -> Path | None:
        return {one.id: one for one in read_manifest(self.manifest)}[case].label


@pytest.fixture(scope="session")
def first_round(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("round")
    cases = []
    for case in read_manifest(manifest):
        scans = {n: _copied(f, folder / case.id) for n, f in case.volumes.items()}
        label = None if case.id in ("case_0", "case_1") else _copied(case.label, folder / case.id)
        cases.append(replace(case, volumes=scans, label=label))
    write_manifest(folder / "manifest.csv", cases)
    settings = validate(PrepareSettings, {"spacing": SPACING, "modalities": ("ct", "pet")})
    prepare(folder / "manifest.csv", folder / "store", settings)
    config = {"modalities": ("ct", "pet"), "encoder": ENCODER, "fusion": FUSION["early"]}
    segmenter = Segmenter(
        validate(SegmenterConfig, config | {"patch": (16, 24, 24), "spacing": SPACING})
    )
    segmenter.strategy = Threshold(float(np.log1p(4)), (55 - 40) / 200)  # pyright: ignore
    segmenter.strategy.scale.data.fill_(3.0)  # pyright: ignore
    hilum.annotate.propose(
        segmenter, folder / "manifest.csv", folder / "proposals", say=lambda text: None
    )
    return folder


def _copied(file: Path | None, folder: Path) -> Path:
    assert file is not None
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy2(file, folder / file.name))


@pytest.fixture
def loop(first_round: Path, tmp_path: Path) -> Loop:
    shutil.copytree(first_round, tmp_path / "round", symlinks=True)
    (tmp_path / "round" / "back").mkdir()
    return Loop(tmp_path / "round")
