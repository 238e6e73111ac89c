"""A small labelled case store, and a study on it whose cells take a second each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate, write_yaml
from hilum.datasets.store.case_store import VERSION, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.study.settings import StudySettings

SIDES = (18, 20, 22)
ENCODER = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
TRAINER = {
    "steps": 12,
    "batch_size": 2,
    "learning_rate": 0.03,
    "validate_every": 12,
    "save_every": 2,
    "threads": 1,
    "tracking": {"mode": "disabled"},
}


def make_store(folder: Path, fingerprint: str = "abc") -> Path:
    """Write six labelled CT/PET cases, two of which test."""
    rows = []
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    for number in range(6):
        generator = np.random.default_rng(number)
        label = np.zeros(SIDES, np.uint8)
        label[5:9, 6 + number : 10 + number, 7:12] = 1
        pet = generator.gamma(1, 1, SIDES) + 6 * label
        case = PreparedCase(
            id=f"case_{number}",
            patient=f"patient_{number}",
            site="",
            split="test" if number > 3 else "train",
            images=np.stack([generator.normal(0, 80, SIDES), pet]).astype(np.float16),
            modalities=("ct", "pet"),
            regions=np.full(SIDES, 7, np.uint8),
            label=label,
            grid=grid,
            source_grid=grid,
            factors={"ct": 1.0, "pet": 1.0},
            inputs={},
        )
        write_case(folder / case.id, case, *nodes_of(label, grid, case.id))
        row = {"id": case.id, "patient": case.patient, "site": "", "split": case.split}
        rows.append(
            row
            | {
                "modalities": ["ct", "pet"],
                "labelled": True,
                "shape": SIDES,
                "nodes": 1,
                "classes": 1,
            }
        )
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": fingerprint, "cases": rows})
    return folder


def tiny_study(store: Path, **more: Any) -> StudySettings:
    """Return a study of one pretraining cell and four fine-tuning cells."""
    values: dict[str, Any] = {
        "name": "tiny",
        "store": str(store),
        "factors": {
            "pretext": {
                "scratch": {},
                "mae": {"pretrain": {"task": {"name": "masked_autoencoder", "block": [4, 4, 4]}}},
            },
            "seed": [0, 1],
        },
        "reference": {"pretext": "scratch"},
        "pretrain": {
            "encoder": ENCODER,
            "patch": [8, 16, 16],
            "validation": 0,
            "trainer": TRAINER,
        },
        "finetune": {
            "encoder": ENCODER,
            "patch": [8, 16, 16],
            "fusion": {"name": "early"},
            "split": {"labels": 2, "validation": 1},
            "inference": {"window": [8, 16, 16], "overlap": 0},
            "trainer": TRAINER,
            "pictures": 0,
        },
        "conditions": ["ct+pet"],
    }
    return validate(StudySettings, values | more)


@pytest.fixture
def moving(tmp_path: Path) -> Callable[[str], Path]:
    """Return what writes a store of this fingerprint, each time over the last one."""
    return lambda fingerprint: make_store(tmp_path / "moving", fingerprint)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that no test changes."""
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def file(store: Path, tmp_path: Path) -> Path:
    """A study file of five cells."""
    write_yaml(tmp_path / "study.yaml", tiny_study(store))
    return tmp_path / "study.yaml"
