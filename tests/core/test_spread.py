"""Workers do what one process would do, and never outlive the one that started them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from hilum.core.errors import DataError, UserError
from hilum.core.files import read_json, write_json
from hilum.core.spread import spread

JOBS = """
import os, signal, sys, time
from pathlib import Path

def note(number, folder):
    (folder / str(os.getpid())).touch()
    return number**2

def wait(number, folder):
    (folder / str(os.getpid())).touch()
    time.sleep(60)

def slow_first(number, folder):
    (folder / str(number)).touch()
    while not number and not (folder / "3").exists():
        time.sleep(0.02)
    time.sleep(0 if number else 0.5)
    return number

def interrupted(number):
    os.kill(os.getpid(), signal.SIGINT)
    return number

def die(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number
"""
WITHOUT_LOOKING = """
from hilum.core import spread
spread.PAUSE_S = 1000
"""
WITHOUT_THE_SYSTEM = """
sys.platform = "another"
from hilum.core import spread
spread.PAUSE_S = 0.2
"""
PARENT = """
import sys
from functools import partial
from pathlib import Path
import jobs_of_spread as jobs
from hilum.core.spread import spread
if __name__ == "__main__":
    list(spread(partial(jobs.wait, folder=Path(sys.argv[1])), range(4), 2))
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return functions in a file of their own: a worker must be able to import them."""
    (tmp_path / "jobs_of_spread.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("jobs_of_spread", None)
    return importlib.import_module("jobs_of_spread")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(tmp_path: Path, jobs: ModuleType, workers: int) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    found = list(spread(partial(jobs.note, folder=folder), range(6), workers))
    assert sorted(found) == [0, 1, 4, 9, 16, 25]
    assert (str(os.getpid()) in [p.name for p in folder.iterdir()]) == (workers == 1)


def test_results_come_in_the_order_of_the_jobs_if_asked(tmp_path: Path, jobs: ModuleType) -> None:
    """The first job ends last."""
    for workers, folder in ((2, tmp_path / "two"), (1, tmp_path / "two"), (2, tmp_path / "any")):
        folder.mkdir(exist_ok=True)
        job, ordered = partial(jobs.slow_first, folder=folder), folder.name == "two"
        found = list(spread(job, range(4), workers, in_order=ordered))
        assert found == [0, 1, 2, 3] if ordered else found[-1] == 0, "as it comes, if not asked"


def test_the_first_job_that_fails_is_the_one_that_is_named(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("good", "late", "later")]
    write_json(files[0], 3)
    with pytest.raises(UserError, match="late: no such file"):
        list(spread(read_json, files, 2, in_order=True))


def test_a_worker_leaves_ctrl_c_to_its_parent(jobs: ModuleType) -> None:
    assert list(spread(jobs.interrupted, range(2), 2, in_order=True)) == [0, 1]


def test_a_worker_that_is_killed_is_one_error(jobs: ModuleType) -> None:
    with pytest.raises(DataError, match="one was killed, most likely for want of memory"):
        list(spread(jobs.die, range(4), 2))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            WITHOUT_LOOKING,
            id="the system tells",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells"),
        ),
        pytest.param(WITHOUT_THE_SYSTEM, id="by looking"),
    ],
)
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, more: str) -> None:
    """SIGKILL, as by a user or for want of memory: the parent can say nothing."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are looked up in /proc")
    (tmp_path / "jobs_of_spread.py").write_text(JOBS + more)
    (tmp_path / "parent.py").write_text(PARENT)
    folder = tmp_path / "pids"
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(folder)])
    until = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(path.name) for path in folder.iterdir()]
    assert len(workers) == 2
    assert all(map(alive, workers))
    parent.kill()
    parent.wait()
    until = time.monotonic() + 15
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
