"""A run stopped or killed anywhere ends with the bits of one that is not, teacher included."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hilum.core.errors import Stopped
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.pretrain.module import PretrainModule
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings

STEPS = 5
RESENC = {"name": "resenc", "features": [4, 8, 8], "blocks": [1, 1, 1]}
VIT = {"name": "vit", "token": 8, "trained": 16, "width": 24, "depth": 2, "heads": 2}
VIT |= {"features": [4, 4, 8]}
SMALL: dict[str, dict[str, Any]] = {
    "dino": {"prototypes": 8},
    "self_distillation": {"prototypes": 8},
    "voco": {"grid": (1, 2, 2), "width": 8},
    "multimodal_tokens": {"decoder_width": 24, "decoder_heads": 2},
    "misalignment": {"longest": 6.0, "dim": 4},
}
"""Parameters that make a task small."""


def settings_of(store: CaseStore, task: str, **changes: Any) -> PretrainSettings:
    trainer = {"steps": STEPS, "batch_size": 2, "precision": "32", "validate_every": 2}
    trainer |= {"save_every": 2, "ema": 0.5, "tracking": {"mode": "disabled"}}
    values = {
        "store": store.path,
        "encoder": VIT if task == "multimodal_tokens" else RESENC,
        "task": {"name": task, **SMALL.get(task, {})},
        "patch": (16, 16, 16),
        "augmentation": {"dropout": 0.2},
        "trainer": trainer | changes,
    }
    return validate(PretrainSettings, values)


def same_bits(one: Path, other: Path) -> bool:
    """Say whether two runs wrote the same files of weights with the same bits."""
    files = sorted(file.relative_to(one) for file in one.rglob("*.safetensors"))
    assert files == sorted(file.relative_to(other) for file in other.rglob("*.safetensors"))
    pairs = [(load_file(one / file), load_file(other / file)) for file in files]
    return all(torch.equal(a[key], b[key]) for a, b in pairs for key in {*a, *b})


@pytest.mark.slow
@pytest.mark.parametrize("task", ["dino", "voco", "multimodal_tokens", "misalignment"])
def test_a_stopped_run_ends_with_the_same_bits(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    pretrain(settings_of(store, task), tmp_path / "whole")
    train, last = PretrainModule.training_step, random.Random(task).randrange(STEPS - 1)

    def stop(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == last:
            signal.raise_signal(signal.SIGTERM)
        return train(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainModule, "training_step", stop)
        with pytest.raises(Stopped):
            pretrain(settings_of(store, task), tmp_path / "cut")
    pretrain(settings_of(store, task), tmp_path / "cut")
    assert same_bits(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_a_run_killed_at_random_times_ends_with_the_same_bits(
    store: CaseStore, tmp_path: Path
) -> None:
    settings = settings_of(store, "self_distillation", steps=15, save_every=3)
    began = time.monotonic()
    pretrain(settings, tmp_path / "whole")
    whole, draw = time.monotonic() - began, random.Random(0)
    for _ in range(3):
        child = multiprocessing.get_context("fork").Process(
            target=pretrain, args=(settings, tmp_path / "cut")
        )
        child.start()
        child.join(draw.uniform(0.2, 0.8) * whole)
        child.kill()
        child.join()
    pretrain(settings, tmp_path / "cut")
    assert same_bits(tmp_path / "whole", tmp_path / "cut")
