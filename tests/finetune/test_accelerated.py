"""Whole runs with compiled networks and channels last end as plain ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from safetensors.torch import load_file

from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.segmenter import Segmenter
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


def train(store: CaseStore, folder: Path, **trainer: Any) -> Path:
    """Return the segmenter that a run of three steps ends with, validated and saved on the way."""
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
    return finetune(settings, folder, say=lambda text: None)


def weights(segmenter: Path) -> dict[str, torch.Tensor]:
    return load_file(segmenter / "model.safetensors")


def logits(segmenter: Path) -> torch.Tensor:
    """Return what it says of noise: biases ahead of a norm learn from rounding alone."""
    image = torch.randn(1, 2, 8, 12, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return Segmenter.from_pretrained(segmenter).eval()(
            image, torch.ones((1, 2), dtype=torch.bool)
        )[0]


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
    other = train(store, tmp_path / "other", learning_rate=2e-3)  # twice the default
    assert list(weights(plain)) == list(weights(compiled)) == list(weights(last))
    for name, weight in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], weight)
    apart = (logits(last) - logits(plain)).abs().max()
    assert apart < 0.02 * (logits(other) - logits(plain)).abs().max()
