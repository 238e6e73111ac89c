"""What waiting threads cost is measured in processes that got the policy, beside the load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ..loading import loaded
from ..warm import python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "busy.py"
RESULT = SCRIPT.parent / "results" / "busy.json"


@pytest.mark.slow
def test_a_trial_has_a_row_and_writes_no_result() -> None:
    before = RESULT.stat().st_mtime_ns
    # A second state would take as long again; its load is measured below.
    words = ["quiet", "--smoke", "--rounds", "1", "--policies", "one thread"]
    done = subprocess.run([python(), str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)
    assert [row["what"] for row in rows] == ["quiet: one thread"]
    for row in rows:
        low, middle, high = row["seconds"]
        assert 0 < low == middle == high
        # One thread computes at most as long as the clock runs; two would take more here.
        assert 0 < row["processor seconds"][1] <= 1.05 * middle + 0.02
        assert 0 <= row["cores taken by other programs"][1] <= (os.cpu_count() or 1) + 0.5
    assert RESULT.stat().st_mtime_ns == before


def test_a_load_of_its_own_does_not_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    busy = loaded(SCRIPT)
    sys.modules.pop("timing", None)
    load = subprocess.Popen([sys.executable, "-I", "-c", busy.LOAD])
    try:
        time.sleep(1)
        with_it, without = busy.taken_by_others([load]), busy.taken_by_others([])
        worked = sum(psutil.Process(load.pid).cpu_times()[:2])
    finally:
        load.kill()
        load.wait()
    assert worked > 0.1
    assert without - with_it == pytest.approx(worked, abs=0.15)
