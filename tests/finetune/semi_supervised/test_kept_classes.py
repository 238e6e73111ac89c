"""A new class is learned while an old segmenter keeps what it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.kept_classes import known_classes, with_kept
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
NAMES = ("lower", "node")


@pytest.fixture
def old(config: Make, tmp_path: Path) -> Path:
    """Return a segmenter that knows nodes: SUV above 4, sure of it but near that limit."""
    rule = {"limit": 4.0, "slope": 20.0, "learned": False}
    return Segmenter(config(prior_rule=rule)).save(tmp_path / "old")


def settings(store: CaseStore, old: Path, **changes: Any) -> FinetuneSettings:
    trainer = {"steps": 2, "batch_size": 2, "validate_every": 2, "precision": "32"}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 3, "validation": 1},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "names": NAMES,
        "pseudo": {"keep": str(old), "threshold": 0.9},
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


def test_where_nobody_looked_what_the_old_one_is_sure_of_is_the_label(
    store_of_two: CaseStore, old: Path, config: Make, tmp_path: Path
) -> None:
    asked = settings(store_of_two, old)
    split = make_split(store_of_two, asked.split)
    made = with_kept(store_of_two, split, asked, config(classes=3, names=NAMES), tmp_path / "new")
    assert "case_1" in split.train, "labelled for class 1 alone"
    for name in (*split.train, *split.validation):
        before, after = np.asarray(store_of_two[name].label), np.asarray(made[name].label)
        if name != "case_1":
            np.testing.assert_array_equal(after, before)
            assert made[name].annotated == store_of_two[name].annotated
            continue
        suv = np.asarray(store_of_two[name].images[1], float)
        sure = 1 / (1 + np.exp(-20 * (np.log1p(suv) - np.log1p(4))))
        wanted = np.where(np.maximum(sure, 1 - sure) < 0.9, IGNORE, np.where(sure > 0.5, 2, 0))
        wanted = np.where(before == 1, 1, wanted)
        near = np.abs(np.maximum(sure, 1 - sure) - 0.9) < 1e-3
        np.testing.assert_array_equal(after[~near], wanted[~near])
        assert (after == 2).any()
        assert made[name].annotated == (1, 2)
        assert {node["class"] for node in made[name].nodes} == {1, 2}
        assert made.row(name)["annotated"] == [1, 2]


def test_classes_are_matched_by_name_or_as_said(
    store_of_two: CaseStore, old: Path, config: Make
) -> None:
    two = config(classes=3, names=NAMES)
    assert known_classes(settings(store_of_two, old), two) == {1: 2}
    other = config(classes=3, names=("lower", "lesion"))
    with pytest.raises(CheckpointError, match="must know one of the run's"):
        known_classes(settings(store_of_two, old), other)
    said = settings(store_of_two, old, transfer={"classes": {"lesion": "node"}})
    assert known_classes(said, other) == {1: 2}


def test_a_run_trains_on_the_completed_labels_and_says_whose_they_are(
    store_of_two: CaseStore, old: Path, tmp_path: Path
) -> None:
    folder = finetune(settings(store_of_two, old), tmp_path / "run", say=lambda text: None)
    assert CaseStore(tmp_path / "run" / "pseudo")["case_1"].annotated == (1, 2)
    seen = read_json(folder / "config.json")["seen"]
    assert seen["complete"] is False, "nobody wrote down whom the old one had seen"


def test_labels_are_made_by_one_segmenter(store_of_two: CaseStore, old: Path) -> None:
    with pytest.raises(SettingsError, match="choose one"):
        settings(store_of_two, old, pseudo={"keep": str(old), "segmenter": str(old)})
