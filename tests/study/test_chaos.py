"""Runners that are killed and started again leave what an undisturbed one does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ..warm import python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runners_that_are_killed_at_random_do_every_cell_once() -> None:
    """`python benchmarks/chaos.py` does the same with thirty kills and more cells."""
    command = [python(), str(SCRIPT), "--kills", "4", "--seeds", "1", "--pause", "1", "--dry"]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr
    assert "'problems': []" in done.stderr
