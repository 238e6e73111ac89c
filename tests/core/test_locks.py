"""A lock has one owner, a dead owner loses it, and clocks that differ do not matter."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hilum.core import locks
from hilum.core.errors import RunError
from hilum.core.locks import Watch, take


def foreign(lock: Path, beat: int = 0, ahead: float = 0) -> None:
    """Write a lock as a runner on another machine does, its clock `ahead` by so many seconds."""
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "beat": beat}).ljust(320))
    os.utime(lock, (time.time() + ahead, time.time() + ahead))


def test_a_held_lock_is_refused_and_a_released_one_is_not(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock", Watch())
    with pytest.raises(RunError, match=f"in use, found process {os.getpid()}"):
        take(tmp_path / "lock", Watch())
    lock.release()
    take(tmp_path / "lock", Watch()).release()
    assert list(tmp_path.iterdir()) == []


def test_only_what_the_dead_left_is_discarded(tmp_path: Path) -> None:
    ours, elsewhere, damaged, dead = (tmp_path / name for name in ("a", "b", "c", "d"))
    held = take(ours, Watch())
    foreign(elsewhere)
    damaged.write_text("no owner")
    gone = multiprocessing.get_context("fork").Process(target=lambda: None)
    gone.start()
    gone.join()
    for lock in (dead, tmp_path / "e.claim"):
        lock.write_text(json.dumps(json.loads(ours.read_text()) | {"pid": gone.pid}))
    (tmp_path / ".part-lock-x").touch()
    before = {lock: lock.read_text() for lock in (ours, elsewhere, damaged)}
    locks.discard([ours, elsewhere, damaged, dead, tmp_path / "e"], Watch())
    assert {lock: lock.read_text() for lock in tmp_path.iterdir()} == before
    held.release()


def test_a_lock_is_made_though_another_runner_discards_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: str, path: Path) -> None:
        locks.discard([path], Watch())
        link(source, path)

    monkeypatch.setattr(os, "link", late)
    lock = take(tmp_path / "lock", Watch())
    assert lock.beat()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead", [-3000.0, 0.0, 3000.0])
def test_silence_is_measured_by_the_watchers_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    monkeypatch.setattr(locks, "SILENT_AFTER_S", 0.3)
    path, watch = tmp_path / "lock", Watch()
    for beat in range(4):
        foreign(path, beat, ahead)
        assert watch.owner(path) is not None, "a heartbeat that moves is alive, whatever its date"
        time.sleep(0.15)
    time.sleep(0.3)
    assert watch.owner(path) is None
    lock = take(path, watch)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


def test_a_living_owner_elsewhere_is_noticed_by_its_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    foreign(path)
    beats = iter(range(1, 100))
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: foreign(path, next(beats)))
    with pytest.raises(RunError, match="process 1 on elsewhere"):
        take(path, Watch())


def test_an_owner_that_lost_its_lock_knows_and_leaves_the_new_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    old = take(path, Watch())
    path.unlink()
    new = take(path, Watch())
    before = path.read_text()
    assert not old.beat()
    old.release()
    assert path.read_text() == before
    assert new.beat()
    new.release()


def test_a_process_number_given_to_another_process_is_no_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take(path, Watch())
    text = json.loads(path.read_text()) | {"pid": os.getppid(), "began": "1"}
    lock.release()
    path.write_text(json.dumps(text))
    if Path("/proc/self/stat").exists():
        assert Watch().owner(path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\x00", b"null", b"[" * 99999])
def test_a_damaged_lock_is_named_at_once(tmp_path: Path, content: bytes) -> None:
    """It is not taken over: nobody can say whether its owner lives."""
    path = tmp_path / "lock"
    path.write_bytes(content)
    began = time.monotonic()
    with pytest.raises(RunError, match="must say who has it, found a damaged file") as caught:
        take(path, Watch())
    assert time.monotonic() - began < 5
    assert f"{path}: " in str(caught.value)
    assert "remove it" in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("ahead", [-30 * 86400.0, 30 * 86400.0])
def test_a_clock_that_is_wrong_by_weeks_takes_no_living_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """The date of the lock, seen by our clock or set by theirs, says nothing of its owner."""
    path, watch = tmp_path / "lock", Watch()
    beats = iter(range(100))
    foreign(path, next(beats), ahead)
    assert watch.owner(path) is not None
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: foreign(path, next(beats), ahead))
    with pytest.raises(RunError, match="process 1 on elsewhere"):
        take(path, watch)
    assert locks.looks_dead(path), "it is good enough to show"


@pytest.mark.slow
def test_many_processes_never_hold_a_dead_lock_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    children = [context.Process(target=_compete, args=(tmp_path, queue)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=60)
    counts = [queue.get(timeout=5) for _ in children]
    assert sum(counts) == len((tmp_path / "log").read_text().split()) > 20
    assert not (tmp_path / "broken").exists()


def _compete(folder: Path, queue: Any) -> None:
    """Take and leave dead locks for two seconds; note when two were inside at once."""
    taken, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        try:
            lock = take(folder / "lock", Watch())
        except RunError:
            continue
        inside = folder / "inside"
        try:
            inside.touch(exist_ok=False)
        except FileExistsError:
            (folder / "broken").touch()
        with (folder / "log").open("a") as log:
            log.write("x ")
        taken += 1
        inside.unlink(missing_ok=True)
        if taken % 2:  # as if killed: the file stays, its owner is dead
            locks._HELD.clear()
            (folder / "lock").write_text(json.dumps({**locks._me(), "pid": 2**22 + 1}))
        else:
            lock.release()
    queue.put(taken)
