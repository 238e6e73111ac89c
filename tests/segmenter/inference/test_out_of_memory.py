"""A training step that does not fit says which setting to lower, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hilum.core.errors import UserError
from hilum.core.geometry import IntTriple
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune import run as module
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.inference.out_of_memory import training_advice

HUGE = 2**50


@pytest.mark.parametrize(
    ("patch", "batch", "remedy"),
    [
        ((64, 64, 64), 4, "trainer.batch_size=2 (was 4), which needs 50 % of it; "
         "trainer.accumulate=4 keeps"),
        ((64, 64, 64), 3, "trainer.batch_size=1 (was 3), which needs 33 % of it; "
         "trainer.accumulate=6 keeps"),
        ((64, 64, 96), 1, "patch=[48,48,64], which needs 38 % of it"),
        ((16, 16, 16), 1, "set encoder.checkpoint_activations=true, or use a smaller encoder"),
    ],
)  # fmt: skip
def test_the_remedy_is_a_setting_that_can_be_typed(
    patch: IntTriple, batch: int, remedy: str
) -> None:
    with (
        pytest.raises(UserError, match="no room for another") as caught,
        training_advice(patch, batch, 2, (16, 16, 16)),
    ):
        torch.empty(HUGE)
    assert remedy in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="must match"), training_advice((8, 8, 8), 1, 1, (8,)):
        torch.add(torch.ones(2), torch.ones(3))


def test_a_run_says_it(store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "patch": (8, 12, 16),
        "trainer": {"steps": 1, "batch_size": 2, "tracking": {"mode": "disabled"}},
        "pictures": 0,
    }

    def too_much(*_: Any) -> Tensor:
        return torch.empty(HUGE)

    monkeypatch.setattr(module.FinetuneModule, "training_step", too_much)
    with pytest.raises(UserError, match=r"2 patches of 8 x 12 x 16.*batch_size=1"):
        module.finetune(validate(FinetuneSettings, values), tmp_path / "run")
