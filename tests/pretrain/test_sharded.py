"""A run whose weights are divided over two processes ends as one whose weights are copied."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hilum.datasets.store.case_store import CaseStore

from ..command import process_of

STEPS = 25


def command(store: CaseStore, folder: Path, strategy: str) -> list[str]:
    """Return the command of a run with averaged weights, hidden modalities and accumulation."""
    trainer: dict[str, Any] = {"steps": STEPS, "batch_size": 1, "accumulate": 2, "precision": "32"}
    trainer |= {"validate_every": STEPS, "save_every": STEPS, "log_every": 1, "ema": 0.9}
    trainer |= {"devices": 2, "strategy": strategy, "tracking": {"mode": "disabled"}}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "task": {"name": "masked_autoencoder", "block": 4},
        "patch": [8, 12, 16],
        "augmentation": {"dropout": 0.3},
        "trainer": trainer,
    }
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(values))
    return process_of("pretrain", "--out", folder, "-c", file)


def run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout


def stop_early(arguments: list[str], folder: Path) -> None:
    """Send SIGTERM as soon as a step is logged; the run must save and end with 75."""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and not (folder / "metrics.jsonl").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(240) == 75


@pytest.mark.slow
def test_a_sharded_run_that_was_stopped_ends_as_one_with_copied_weights(
    store: CaseStore, tmp_path: Path
) -> None:
    copied, sharded = tmp_path / "copied", tmp_path / "sharded"
    run(command(store, copied, "ddp"))
    stop_early(command(store, sharded, "fsdp"), sharded)
    state = torch.load(sharded / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < state["global_step"] < STEPS
    # Whole tensors under the names of any run: one process could go on from here.
    whole = torch.load(copied / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    shapes = {name: tensor.shape for name, tensor in whole.items()}
    assert {name: tensor.shape for name, tensor in state["state_dict"].items()} == shapes
    assert all(type(tensor) is torch.Tensor for tensor in state["state_dict"].values())
    run(command(store, sharded, "fsdp"))

    def norms(folder: Path) -> list[float]:
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [row["optimisation/gradient_norm"] for row in rows]

    assert norms(sharded) == pytest.approx(norms(copied), rel=1e-3)
    for name in ("encoder", "network"):
        files = [folder / name / "model.safetensors" for folder in (copied, sharded)]
        one, other = map(load_file, files)
        for key, tensor in one.items():
            # A bias in front of a norm has a gradient of rounding errors, which Adam makes large.
            if tensor.ndim > 1:
                assert torch.allclose(tensor, other[key], atol=2e-4), key
