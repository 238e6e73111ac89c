"""Whole runs with compiled networks and channels last end as plain ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from safetensors.torch import load_file

from hilum.core.settings import validate
from hilum.datasets.store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.training import acceleration


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Capture graphs, run them as they are: no minute of compiling, no other digits.

    Shapes are not checked meanwhile: the checks of the tests would be part of the graphs.
    """
    monkeypatch.setattr(acceleration, "MODES", {"on": {"backend": "eager"}})
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8):
        yield torch._dynamo.utils.counters
    torch._dynamo.reset()


def train(store: CaseStore, folder: Path, **trainer: Any) -> dict[str, torch.Tensor]:
    """Return the weights that a run of three steps ends with, validated and saved on the way."""
    common = {"steps": 3, "batch_size": 1, "precision": "32", "validate_every": 2}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "fusion": {"name": "cross_attention", "heads": 2, "min_stride": 4},
        "patch": (8, 12, 16),
        "split": {"labels": 2, "validation": 1},
        "trainer": common | {"tracking": {"mode": "disabled"}} | trainer,
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
        "evaluate_test": False,
    }
    settings = validate(FinetuneSettings, values)
    return load_file(finetune(settings, folder, say=lambda text: None) / "model.safetensors")


@pytest.mark.slow
def test_accelerated_runs_end_with_the_same_weights(
    store: CaseStore, tmp_path: Path, captured: Any
) -> None:
    plain = train(store, tmp_path / "plain")
    captured.clear()
    compiled = train(store, tmp_path / "compiled", compile="on")
    assert captured["stats"]["unique_graphs"] >= 2  # training and validation
    assert not captured["graph_break"]
    last = train(store, tmp_path / "last", channels_last=True)
    assert list(plain) == list(compiled) == list(last)
    for name, weight in plain.items():
        torch.testing.assert_close(compiled[name], weight)
        torch.testing.assert_close(last[name], weight, atol=1e-4, rtol=1e-3)
