"""Rounds of pseudo-labels: each is labelled by the round before, and only the last is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import DataError, RunError, SettingsError
from hilum.core.files import hash_of, hash_of_file, read_json
from hilum.core.settings import read_yaml, validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.planned import planned
from hilum.finetune.semi_supervised.self_training import self_train
from hilum.finetune.settings import FinetuneSettings


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 1},
        "trainer": {
            "steps": 1,
            "batch_size": 1,
            "precision": "32",
            "tracking": {"mode": "disabled"},
        },
        "pseudo": {"threshold": 0.51},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "conditions": ["ct+pet"],
        "foreground": 0.0,
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


@pytest.mark.slow
def test_each_round_trains_on_labels_of_the_one_before(store: CaseStore, tmp_path: Path) -> None:
    out = tmp_path / "rounds"
    last = self_train(settings(store), out, 2, say=lambda text: None)
    assert last == out / "round_2" / "segmenter"
    runs = [read_yaml(out / f"round_{n}" / "config.yaml") for n in range(3)]
    assert [run["pseudo"]["segmenter"] for run in runs] == [
        None, str(out / "round_0" / "segmenter"), str(out / "round_1" / "segmenter"),
    ]  # fmt: skip
    assert len({hash_of(read_json(out / f"round_{n}" / "split.json")) for n in range(3)}) == 1
    assert [(out / f"round_{n}" / "test").is_dir() for n in range(3)] == [False, False, True]
    assert not (out / "round_0" / "pseudo").exists()
    for number in (1, 2):
        made = CaseStore(out / f"round_{number}" / "pseudo")
        split = read_json(out / f"round_{number}" / "split.json")
        labelled = [name for name in made.ids if made[name].about.get("pseudo")]
        assert sorted(labelled) == sorted(set(split["pool"]) - set(split["train"]))
    before = hash_of_file(last / "model.safetensors")
    assert self_train(settings(store), out, 2, say=lambda text: None) == last
    assert hash_of_file(last / "model.safetensors") == before
    longer = settings(store)
    longer = longer.model_copy(update={"trainer": longer.trainer.model_copy(update={"steps": 9})})
    with pytest.raises(RunError, match=r"rounds cannot go on .* trainer.steps was \d, now 9"):
        self_train(longer, out, 2, say=lambda text: None)


def test_a_dry_run_says_what_rounds_would_label(store: CaseStore) -> None:
    *rest, last = planned(settings(store), rounds=2)
    assert rest[0].startswith("patients: ")
    assert last.startswith("rounds: 2 more runs alike, each with pseudo-labels of the one before")
    with pytest.raises(SettingsError, match="there are no rounds"):
        planned(settings(store, split={"labels": 0}), rounds=2)


def test_without_anything_to_label_no_round_begins(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need cases other than the labelled training cases"):
        self_train(settings(store, split={"labels": 4}), tmp_path / "rounds", 1)
    assert not (tmp_path / "rounds").exists()


def test_rounds_do_not_begin_where_a_segmenter_completes_labels(tmp_path: Path) -> None:
    values = {"store": "store", "pseudo": {"keep": "old"}}
    with pytest.raises(SettingsError, match=r"pseudo\.keep completes labels"):
        self_train(validate(FinetuneSettings, values), tmp_path / "rounds", 1)
    assert not (tmp_path / "rounds").exists()
