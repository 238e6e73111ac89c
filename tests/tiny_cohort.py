"""A cohort of tiny made patients with one hot node each, raw and prepared, and small networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hilum.core.case import Case
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

SIDES: IntTriple = (20, 24, 28)
SPACING = (4.0, 4.0, 4.0)
ENCODER = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}
FUSION: dict[str, dict[str, Any]] = {
    "single": {"name": "single", "modality": "pet"},
    "early": {"name": "early"},
    "late": {"name": "late"},
    "cross_attention": {"name": "cross_attention", "heads": 2, "min_stride": 4},
}
HAVE = [("ct", "pet")] * 5 + [("ct",)]


def world_distance(grid: Grid, centre: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    return np.linalg.norm(grid.to_world(index) - centre, axis=-1)


def draw(number: int, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return CT, PET and label: a ball of soft tissue in air with a hot node off its centre."""
    generator = np.random.default_rng(number)
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    place = middle + generator.uniform(-12, 12, 3)
    body = world_distance(grid, middle) < 38
    node = world_distance(grid, place) < 9 + number % 3
    noise = generator.normal(0, 15, grid.shape)
    ct = np.where(body, 20 + 60 * node + noise, -1000).astype(np.float32)
    pet = np.where(body, 1 + 7 * node + 0.02 * np.abs(noise), 0).astype(np.float32)
    return ct, pet, node.astype(np.uint8)


def write_raw(folder: Path, number: int, grid: Grid, have: tuple[str, ...], split: str) -> Case:
    name = f"case_{number}"
    ct, pet, label = draw(number, grid)
    files = {}
    for key, array in (("ct", ct), ("pet", pet), ("label", label)):
        if key in (*have, "label"):
            files[key] = write_volume(folder / name / f"{key}.nii.gz", array, grid)
    mask = files.pop("label")
    return Case(name, f"patient_{number}", files, mask, "", split)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    grid = Grid.from_spacing(SIDES, SPACING)
    cases = [
        write_raw(folder, number, grid, have, "test" if number >= 4 else "train")
        for number, have in enumerate(HAVE)
    ]
    return write_manifest(folder / "manifest.csv", cases)


@pytest.fixture(scope="session")
def store(manifest: Path) -> CaseStore:
    settings = validate(PrepareSettings, {"spacing": SPACING, "modalities": ("ct", "pet")})
    return prepare(manifest, manifest.parent / "store", settings)


@pytest.fixture
def config() -> Callable[..., SegmenterConfig]:
    def make(**changes: Any) -> SegmenterConfig:
        values = {
            "modalities": ("ct", "pet"),
            "encoder": ENCODER,
            "fusion": FUSION["early"],
            "patch": (8, 12, 16),
            "spacing": SPACING,
        }
        return validate(SegmenterConfig, values | changes)

    return make


class Threshold(nn.Module):
    """Sees a node wherever an encoded PET (without one: a CT) is above a value."""

    def __init__(self, pet: float, ct: float) -> None:
        super().__init__()
        self.pet, self.ct = pet, ct
        self.scale = nn.Parameter(torch.tensor(200.0))
        self.encoders = nn.ModuleDict()

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        has_pet = available[:, 1].view(-1, 1, 1, 1, 1)
        score = torch.where(has_pet, volumes["pet"] - self.pet, volumes["ct"] - self.ct)
        return [torch.cat([torch.zeros_like(score), score * self.scale], 1)]


@pytest.fixture
def threshold(config: Callable[..., SegmenterConfig]) -> Segmenter:
    """Return a segmenter that calls SUV above 4 a node, or CT above 55 HU where PET is absent."""
    segmenter = Segmenter(config(classes=2))
    segmenter.strategy = Threshold(float(np.log1p(4)), (55 - 40) / 200)  # pyright: ignore[reportAttributeAccessIssue]
    return segmenter
