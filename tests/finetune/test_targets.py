"""Training learns the shares of several raters, and says what cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.ready import parts_of, ready
from hilum.finetune.settings import FinetuneSettings

from ..raters_of_one import three_raters
from ..tiny_cohort import ENCODER


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    place = tmp_path_factory.mktemp("raters")
    settings = validate(PrepareSettings, {"spacing": (4, 4, 4), "raters": "mean"})
    return prepare(three_raters(place), place / "store", settings)


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values = {
        "store": store.path, "patch": (8, 12, 16), "encoder": ENCODER, "foreground": 1.0,
        "split": {"validation": 0}, "trainer": {"steps": 4, "batch_size": 4},
    }  # fmt: skip
    return validate(FinetuneSettings, values | changes)


def test_the_loss_of_a_step_is_that_of_the_shares(store: CaseStore) -> None:
    module, data = parts_of(settings(store))
    batch: Any = next(iter(data.train_dataloader()))
    assert (batch["label"] > 20).any()
    module.log_dict = lambda *args, **more: None  # pyright: ignore
    module.segmenter.eval()
    with torch.no_grad():
        ready_ = module.augmentation(batch)
        logits = module.segmenter(ready_["image"], ready_["available"])[0]
        _, terms = module._loss(ready_, 0)
    rows = [table[label[0].long()] for table, label in zip(batch["targets"], batch["label"],
                                                           strict=True)]  # fmt: skip
    share = torch.stack(rows).movedim(-1, 1)
    expected = -(share * logits.log_softmax(1)).sum(1).mean()
    assert float(terms["cross_entropy"]) == pytest.approx(float(expected), rel=1e-5)


def test_without_soft_the_majority_is_learned(store: CaseStore) -> None:
    _, data = parts_of(settings(store, soft=False))
    batch: Any = next(iter(data.train_dataloader()))
    assert "targets" not in batch
    assert set(batch["label"].unique().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"name": "cc"}}, "loss.name=cc needs one class.*2 training cases.*dice_ce"),
        ({"synthetic": {"p": 0.5}}, "synthetic nodes need one class.*soft=false"),
        ({"organs": {"numbers": [1]}}, "organs need one class"),
    ],
)
def test_what_needs_one_class_for_each_voxel_is_refused(
    changes: dict[str, Any], message: str, store: CaseStore
) -> None:
    with pytest.raises(SettingsError, match=message):
        ready(settings(store, **changes))
    if "loss" in changes:
        ready(settings(store, soft=False, **changes))
