"""Pseudo-labels are what a segmenter is sure of, of cases that neither validate nor test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.core.errors import CheckpointError, DataError, RunError
from hilum.core.files import read_json, write_json
from hilum.core.settings import validate
from hilum.datasets.batch import collate
from hilum.datasets.leakage import seen_in
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.pseudo_labels import check_labeller, confident, pseudo_labelled
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.segmenter import Segmenter

from ...patch_sets import patch_set

ENCODER = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}


@pytest.fixture
def labeller(tmp_path: Path, store: CaseStore) -> Path:
    """Return a segmenter that is sure of some voxels of each class, and of others is not."""
    torch.manual_seed(3)
    about = {
        "modalities": ("ct", "pet"),
        "encoder": ENCODER,
        "fusion": {"name": "early"},
        "patch": (8, 12, 16),
        "spacing": store.spacing,
    }
    segmenter = Segmenter(validate(SegmenterConfig, about))
    with torch.no_grad():
        for name, p in segmenter.named_parameters():
            if "heads.0" in name or "seg" in name or "head" in name:
                p.mul_(0).add_(torch.randn(p.shape)) if p.ndim == 1 else p.mul_(6)
    return segmenter.save(tmp_path / "before" / "segmenter")


def settings(store: CaseStore, labeller: Path, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": ENCODER,
        "patch": (8, 12, 16),
        "split": {"labels": 1, "validation": 1},
        "trainer": {
            "steps": 2,
            "batch_size": 2,
            "validate_every": 2,
            "precision": "32",
            "tracking": {"mode": "disabled"},
        },
        "pseudo": {"segmenter": str(labeller), "threshold": 0.8},
        "validate_on": "patches",
        "foreground": 0.0,
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


def test_a_label_is_what_reaches_the_threshold() -> None:
    probability = np.array([[0.95, 0.6, 0.05, 0.1], [0.05, 0.4, 0.9, 0.0], [0, 0, 0.05, 0.9]])
    label = confident(probability.reshape(3, 2, 1, 2), 0.8)
    assert label.ravel().tolist() == [0, 255, 1, 2]
    assert label.dtype == np.uint8


def test_the_new_store_holds_predictions_of_the_pool_and_the_labels_of_the_rest(
    store: CaseStore, labeller: Path, tmp_path: Path
) -> None:
    own = settings(store, labeller)
    split = make_split(store, own.split)
    made, wider = pseudo_labelled(store, split, own, tmp_path / "pseudo")
    added = set(wider.train) - set(split.train)
    assert added == set(store.ids) - {*split.train, *split.validation, *split.test}
    assert set(made.ids) == {*wider.train, *split.validation}
    assert wider.pool == split.pool
    for name in (*split.train, *split.validation):
        np.testing.assert_array_equal(np.asarray(made[name].label), np.asarray(store[name].label))
    segmenter = Segmenter.from_pretrained(labeller)
    unknown = 0
    for name in added:
        expected = confident(predict_case(segmenter, store[name], precision="32"), 0.8)
        np.testing.assert_array_equal(np.asarray(made[name].label), expected)
        np.testing.assert_array_equal(np.asarray(made[name].images), np.asarray(store[name].images))
        unknown += int((expected == 255).sum())
        assert made.rows[name]["hot_spots"] == 0
        assert store[name].about["labelled"], "the true label stays where it was"
    assert unknown
    data = patch_set(made, wider.train, (8, 12, 16), 6, 0, foreground=0.0)
    assert "label" in collate([data[i] for i in range(6)])


def test_an_interrupted_call_goes_on_and_other_labels_are_refused(
    store: CaseStore, labeller: Path, tmp_path: Path
) -> None:
    own, out = settings(store, labeller), tmp_path / "pseudo"
    split = make_split(store, own.split)

    def cut(done: int, total: int) -> None:
        assert total == 2
        raise KeyError("power cut")

    with pytest.raises(KeyError):
        pseudo_labelled(store, split, own, out, cut)
    assert not (out / "store.json").exists()
    first = out / check_labeller(store, split, own)[0] / "label.npy"
    written = first.stat().st_mtime_ns
    made, _ = pseudo_labelled(store, split, own, out)
    assert first.stat().st_mtime_ns == written
    assert len(made.ids) == 4
    other = settings(store, labeller, pseudo={"segmenter": str(labeller), "threshold": 0.9})
    with pytest.raises(RunError, match="of the segmenter that the run began with"):
        pseudo_labelled(store, split, other, out)


def test_a_segmenter_that_trained_on_a_test_patient_may_not_label(
    store: CaseStore, labeller: Path
) -> None:
    own = settings(store, labeller)
    split = make_split(store, own.split)
    config = read_json(labeller / "config.json")

    def saw(cases: Sequence[str]) -> None:
        seen = seen_in(store, cases).model_dump(mode="json")
        write_json(labeller / "config.json", config | {"seen": seen})

    saw([split.train[0], split.test[0]])
    with pytest.raises(DataError, match="no test patient may have been learned from"):
        check_labeller(store, split, own)
    saw(split.train)
    assert check_labeller(store, split, own)


def test_a_segmenter_of_another_spacing_may_not_label(store: CaseStore, labeller: Path) -> None:
    config = read_json(labeller / "config.json")
    write_json(labeller / "config.json", config | {"spacing": [2.0, 2.0, 2.0]})
    own = settings(store, labeller)
    with pytest.raises(CheckpointError, match="must have the spacing of the store"):
        check_labeller(store, make_split(store, own.split), own)


@pytest.mark.slow
def test_a_run_trains_on_its_pseudo_labels(
    store: CaseStore, labeller: Path, tmp_path: Path
) -> None:
    own = settings(store, labeller, teacher={"weight": 0.1})
    folder = finetune(own, tmp_path / "run", say=lambda text: None)
    Segmenter.from_pretrained(folder)
    assert CaseStore(tmp_path / "run" / "pseudo").rows.keys() < store.rows.keys()
    assert len(read_json(tmp_path / "run" / "split.json")["train"]) == 1
    assert finetune(own, tmp_path / "run", say=lambda text: None) == folder
