"""The script that takes many cases through whole commands runs, with few, from check to plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scale_flow.py"
RESULT = SCRIPT.parent / "results" / "scale_flow.json"
COMMANDS = (
    "check",
    "prepare, killed at half and resumed",
    "prepare, all there",
    "pretrain, 1 steps",
    "study plan",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_has_a_row_and_no_result_is_written() -> None:
    before = RESULT.stat().st_mtime_ns
    # The interpreter itself: a stand-in that is killed would leave the command running.
    words = ["6", "--many", "0", "--steps", "1", "--smoke"]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [f"{command}, 6 cases" for command in COMMANDS]
    for row in rows.values():
        assert row["cpu_s"] > 0.1
        assert row["peak MiB"] > 20
    # Two starts cost more than one that finds everything done.
    killed, there = (rows[f"{COMMANDS[n]}, 6 cases"]["cpu_s"] for n in (1, 2))
    assert killed > there
    assert RESULT.stat().st_mtime_ns == before
