"""Whole runs with each adaptation method end, and leave a plain segmenter folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.resenc import ResencEncoder
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.segmenter import Segmenter

SMALL: dict[str, Any] = {"features": [4, 8, 12], "blocks": [1, 1, 1]}
TRAINER = {
    "steps": 2,
    "batch_size": 1,
    "validate_every": 1,
    "precision": "32",
    "tracking": {"mode": "disabled"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "transfer",
    [
        {"method": "frozen"},
        {"method": "adapters", "rank": 2},
        {"method": "probe"},
        {"layer_decay": 0.5, "pull": 0.1},
    ],
    ids=["frozen", "adapters", "probe", "decay and pull"],
)
def test_a_run_leaves_a_plain_folder(
    transfer: dict[str, Any], store: CaseStore, tmp_path: Path
) -> None:
    about = {
        "architecture": {"name": "resenc", **SMALL},
        "modalities": ("ct", "pet"),
        "spacing": (4.0, 4.0, 4.0),
        "patch": (8, 12, 16),
    }
    source = ResencEncoder(in_channels=2, **SMALL)
    encoder = save_encoder(tmp_path / "encoder", source, validate(EncoderConfig, about))
    values = {
        "store": str(store.path),
        "patch": (8, 12, 16),
        "split": {"labels": 2, "validation": 1},
        "trainer": TRAINER,
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
        "evaluate_test": False,
        "init_from": str(encoder),
        "transfer": transfer,
    }
    folder = finetune(validate(FinetuneSettings, values), tmp_path / "run", say=lambda text: None)
    weights, start = read_weights(folder), read_weights(encoder)
    Segmenter.from_pretrained(folder)
    same = [torch.equal(weights[f"strategy.encoders.all.{n}"], v) for n, v in start.items()]
    still = transfer.get("method") in ("frozen", "probe")
    assert all(same) == still
    assert not any("adapter" in name for name in weights)
