"""The script for the day when there is a GPU runs, with small numbers, on a processor."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..warm import python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    # Nothing of a GPU that may be there: the trial is of the script.
    own = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [python(), "-W", "ignore", str(SCRIPT), *words]
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_part_of_the_script_runs() -> None:
    pytest.importorskip("nnunetv2")
    before = {file.name: file.stat().st_mtime_ns for file in SCRIPT.parent.rglob("*.json")}
    done = run("--smoke")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout[done.stdout.index('{\n  "device"') :])
    parts = ("equality", "waits", "steps", "augmentation", "run", "prediction")
    assert tuple(found)[3:] == parts
    assert not [part for part in parts if not isinstance(found[part], dict)], found
    assert found["waits"] == {}
    assert {kind.split()[0] for kind in found["equality"]} == {"strategy", "loss", "task"}
    assert found["equality"]["strategy single"] == 0
    assert len(found["steps"]) == 3
    for row in found["steps"].values():
        assert row["seconds"] > 0 < row["tflop_per_s"]
    assert found["run"]["seconds of a step of the run"] > 0
    assert found["prediction"]["seconds"] > 0
    # Nothing that was measured on a processor stands where a GPU's numbers belong.
    assert before == {file.name: file.stat().st_mtime_ns for file in SCRIPT.parent.rglob("*.json")}
