"""A fine-tuning that is made longer goes on where it was, and keeps its phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings


def settings(store: CaseStore, steps: int) -> FinetuneSettings:
    trainer = {"steps": steps, "batch_size": 1, "precision": "32", "ema": 0, "warmup": 0}
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 2},
        "transfer": {"decoder_first": 0.9},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values)


@pytest.mark.slow
def test_encoders_thaw_where_they_did_in_the_run_that_is_now_longer(
    store: CaseStore, tmp_path: Path
) -> None:
    said: list[str] = []
    folder = finetune(settings(store, 2), tmp_path / "run", say=said.append)
    before = read_weights(folder)
    finetune(settings(store, 4), tmp_path / "run", say=said.append)
    assert any("goes on from step 2: trainer.steps was 2, now 4" in line for line in said)
    after = read_weights(folder)
    # 0.9 of 4 steps would be all of them: the encoders of the first two alone were kept still.
    encoder = [name for name in after if ".encoders." in name and after[name].ndim > 1]
    assert encoder
    assert not all(torch.equal(before[name], after[name]) for name in encoder)
    summary = read_json(tmp_path / "run" / "summary.json")
    assert (summary["steps"], summary["continued"][0]["step"]) == (4, 2)
