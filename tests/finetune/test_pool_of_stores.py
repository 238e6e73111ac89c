"""Pretraining and fine-tuning on two stores as one, with a case left out, up to the first step."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.settings import load
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.ready import ready
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain import ready as pretraining
from hilum.pretrain.settings import PretrainSettings

SMALL = [
    "encoder={name: resenc, features: [4, 8], blocks: [1, 1]}",
    *("patch=[8,12,16]", "trainer.batch_size=2", "trainer.precision=32"),
    "trainer.tracking.mode=disabled",
]


MASKED = "task.name=masked_autoencoder"
"""Noise has no places for nodes."""


@pytest.fixture
def pool(store: CaseStore, tmp_path: Path) -> list[str]:
    """Return two stores whose patients are the same people, as settings with weights."""
    shutil.copytree(store.path, tmp_path / "again")
    return [
        *(f"store.first={store.path}", f"store.again={tmp_path / 'again'}"),
        *("weights.first=1", "weights.again=3", "split.leave_out=[first__case_5]"),
    ]


def test_a_pretraining_draws_by_weight_and_leaves_out(pool: list[str]) -> None:
    found = pretraining.ready(
        load(PretrainSettings, [], [*SMALL, *pool, MASKED, "trainer.steps=8"])
    )
    assert "left out of everything, as asked for: first__case_5" in found.notes
    assert any("left out" in line for line in found.lines())
    names = [name for batch in found.data.train_dataloader() for name in batch["case"]]
    assert [name.startswith("again__") for name in names].count(True) == 12
    assert len(found.seen.patients) == 4, "a patient of both stores is one"
    assert not any("case_4" in name or "case_5" in name for name in names), "these test"


@pytest.mark.slow
def test_a_fine_tuning_on_a_pool_ends_and_says_who_was_left_out(
    pool: list[str], tmp_path: Path
) -> None:
    said: list[str] = []
    more = ["trainer.steps=2", "split.validation=1", "pictures=0", "inference.overlap=0"]
    more += ["inference.window=[16,24,32]", "conditions=[ct+pet]"]
    settings = load(FinetuneSettings, [], [*SMALL, *pool, *more])
    finetune(settings, tmp_path / "run", say=said.append)
    assert "note: left out of everything, as asked for: first__case_5" in said
    split = read_json(tmp_path / "run" / "split.json")
    assert split["left_out"] == ["first__case_5"]
    assert sorted(split["test"]) == ["again__case_4", "again__case_5", "first__case_4"]
    rows = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    assert set(rows) == set(split["test"])
    assert finetune(settings, tmp_path / "run", say=said.append)
    assert said[-1].endswith("is done")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("weights.frist=1", "weights.frist must name a store of the pool, did you mean 'first'"),
        ("pseudo.segmenter=x", "labels can be made for one store only"),
    ],
)
def test_what_a_pool_cannot_do_is_one_line(pool: list[str], more: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        ready(load(FinetuneSettings, [], [*SMALL, *pool, more]))
    assert "\n" not in str(caught.value)
