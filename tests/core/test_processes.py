"""Work in several processes gives what one gives, and none outlives the process that began it."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.core.errors import DataError, UserError
from hilum.core.files import read_json, write_json
from hilum.core.processes import spread

KEEPS_ON = """
import os, sys, time
from pathlib import Path
from hilum.core.processes import spread

def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(100)

if __name__ == "__main__":
    list(spread(work, [sys.argv[1]] * 2, 2))
"""


def test_results_come_in_the_order_of_the_jobs() -> None:
    for workers in (1, 2):
        assert list(spread(math.factorial, range(6), workers)) == [1, 1, 2, 6, 24, 120]


def test_the_first_job_that_fails_is_the_one_that_is_named(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("good", "late", "later")]
    write_json(files[0], 3)
    with pytest.raises(UserError, match="late: the file must exist"):
        list(spread(read_json, files, 2))


def test_a_killed_worker_is_one_clear_error() -> None:
    with pytest.raises(DataError, match="use fewer workers"):
        list(spread(signal.raise_signal, [signal.SIGKILL] * 2, 2))


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "keeps_on.py"
    script.write_text(KEEPS_ON)
    folder = tmp_path / "pids"
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, script, folder])
    for _ in range(300):
        if len(list(folder.iterdir())) == 2:
            break
        time.sleep(0.1)
    workers = [int(file.name) for file in folder.iterdir()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    alive = workers
    for _ in range(100):
        alive = [worker for worker in workers if _lives(worker)]
        if not alive:
            return
        time.sleep(0.1)
    pytest.fail(f"{alive} still run")


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
