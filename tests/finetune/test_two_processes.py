"""Two processes train as one with twice the batch; they stop together and write one folder."""

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
from ..tiny_cohort import ENCODER

pytestmark = pytest.mark.slow


def config(store: CaseStore, file: Path, **trainer: Any) -> Path:
    values = {
        "store": str(store.path),
        "encoder": ENCODER,
        "patch": [8, 12, 16],
        "split": {"validation": 0},
        "loss": {"dice": 0, "cross_entropy": 1},
        "evaluate_test": False,
        "missing": {"dropout": 0.0},
        "trainer": {
            "steps": 6,
            "learning_rate": 1e-2,
            "precision": "32",
            "validate_every": 3,
            "save_every": 2,
            "log_every": 1,
            "ema": 0.0,
            "tracking": {"mode": "offline"},
            **trainer,
        },
    }
    file.write_text(yaml.safe_dump(values))
    return file


def command(folder: Path, file: Path) -> list[str]:
    return process_of("finetune", "--out", folder, "-c", file)


def run(folder: Path, file: Path) -> None:
    done = subprocess.run(command(folder, file), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "segmenter" / "model.safetensors")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_end_as_one_with_twice_the_batch(store: CaseStore, tmp_path: Path) -> None:
    run(tmp_path / "one", config(store, tmp_path / "one.yaml", batch_size=2))
    run(tmp_path / "two", config(store, tmp_path / "two.yaml", batch_size=1, devices=2))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        # A bias in front of a norm has a gradient of rounding errors, which Adam makes large.
        if tensor.ndim > 1:
            assert torch.allclose(tensor, two[name], atol=2e-4), name
    norms = [
        [row["optimisation/gradient_norm"] for row in rows(tmp_path / name)]
        for name in ("one", "two")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert [row["step"] for row in rows(tmp_path / "two")] == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "two" / "wandb").glob("offline-run-*"))) == 1


def test_two_processes_stop_together_and_go_on(store: CaseStore, tmp_path: Path) -> None:
    file = config(store, tmp_path / "two.yaml", batch_size=1, devices=2, steps=150, save_every=150)
    folder = tmp_path / "run"
    with subprocess.Popen(command(folder, file), stdout=subprocess.PIPE) as process:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and not (folder / "metrics.jsonl").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < state["global_step"] < 150
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    run(folder, file)
    assert (folder / "DONE").exists()
