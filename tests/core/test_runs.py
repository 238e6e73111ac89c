"""A run folder resumes, refuses strangers, and never has two runners."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.core import locks
from hilum.core.errors import RunError, Stopped, StoreError
from hilum.core.files import read_json
from hilum.core.runs import RunFolder
from hilum.core.settings import Settings, read_yaml


class Config(Settings):
    """Settings of a toy run."""

    seed: int = 0
    store: str = ""
    workers: int = 0


def state(run: Path) -> str:
    return read_json(run / "status.json")["state"]


def test_a_finished_run_says_so_and_keeps_its_summary(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "r", Config(), "toy") as run:
        assert not run.done
        run.finish({"dice": 0.5})
    with RunFolder.open(tmp_path / "r", Config(), "toy") as again:
        assert again.done
        assert again.summary == {"dice": 0.5}
    assert state(tmp_path / "r") == "done"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Stopped("SIGTERM"), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(), "failed"),
    ],
)
def test_the_status_tells_how_a_run_ended(
    tmp_path: Path, error: BaseException, expected: str
) -> None:
    with pytest.raises(type(error)), RunFolder.open(tmp_path / "r", Config(), "toy"):
        raise error
    assert state(tmp_path / "r") == expected
    assert not (tmp_path / "r" / "lock").exists()


def test_other_settings_are_refused_but_other_workers_are_not(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "r", Config(), "toy"):
        pass
    with RunFolder.open(tmp_path / "r", Config(workers=4), "toy"):
        pass
    with (
        pytest.raises(RunError, match="other settings, found seed was 0, now 1"),
        RunFolder.open(tmp_path / "r", Config(seed=1), "toy"),
    ):
        pass


@pytest.mark.parametrize(
    ("first", "then", "refusal"),
    [
        (("a", "1"), ("b", "1"), ""),
        (("a", "1"), ("a", "1"), ""),
        (("a", "1"), ("a", "2"), "the store must be the one that the run began with"),
        (("a", "1"), ("b", "2"), "found fingerprint 2, not 1"),
        (("a", "1"), ("b", ""), "store was 'a', now 'b'"),
        (("a", ""), ("b", "1"), "store was 'a', now 'b'"),
        (("a", ""), ("a", "1"), ""),
    ],
)
def test_the_store_may_lie_elsewhere_but_not_hold_other_data(
    tmp_path: Path, first: tuple[str, str], then: tuple[str, str], refusal: str
) -> None:
    run = tmp_path / "r"
    with RunFolder.open(run, Config(store=first[0]), "toy", data=first[1]):
        pass
    if not refusal:
        with RunFolder.open(run, Config(store=then[0]), "toy", data=then[1]) as opened:
            assert opened.data.get("fingerprint", "") == then[1]
        assert read_yaml(run / "config.yaml")["store"] == then[0]
        return
    with (
        pytest.raises((RunError, StoreError), match=refusal),
        RunFolder.open(run, Config(store=then[0]), "toy", data=then[1]),
    ):
        pass
    assert read_yaml(run / "config.yaml")["store"] == first[0]


def test_the_same_data_elsewhere_excuses_no_other_setting(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "r", Config(store="a"), "toy", data="1"):
        pass
    with (
        pytest.raises(RunError, match="found seed was 0, now 1;"),
        RunFolder.open(tmp_path / "r", Config(store="b", seed=1), "toy", data="1"),
    ):
        pass


def fail(run: Path, seed: int, file: str) -> None:
    with RunFolder.open(run, Config(seed=seed), "toy"):
        (run / file).write_text("{}")
        raise ValueError("no such task")


def test_a_run_that_failed_before_its_first_step_gives_way_to_corrected_settings(
    tmp_path: Path,
) -> None:
    run = tmp_path / "r"
    with pytest.raises(ValueError, match="no such task"):
        fail(run, 0, "data.json")
    with RunFolder.open(run, Config(seed=1), "toy"):
        assert not (run / "data.json").exists()
    with pytest.raises(ValueError, match="no such task"):
        fail(run, 1, "metrics.jsonl")
    with (
        pytest.raises(RunError, match="other settings, found seed was 1, now 2"),
        RunFolder.open(run, Config(seed=2), "toy"),
    ):
        pass


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(tmp_path: Path) -> None:
    run = tmp_path / "r"
    with RunFolder.open(run, Config(), "toy"):
        pass
    (run / "config.yaml").write_text("workers: 0\n")
    with RunFolder.open(run, Config(), "toy"):
        pass
    (run / "config.yaml").write_text("workers: 0\n")
    with (
        pytest.raises(RunError, match="seed was 0, now 1"),
        RunFolder.open(run, Config(seed=1), "toy"),
    ):
        pass


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with (
        pytest.raises(RunError, match=r"needs an empty folder, found thesis\.tex"),
        RunFolder.open(tmp_path, Config(), "toy"),
    ):
        pass


def test_a_living_runner_keeps_others_out_and_a_dead_one_does_not(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "r", Config(), "toy"):
        pass
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lock = tmp_path / "r" / "lock"
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": sleeper.pid}))
    with (
        pytest.raises(RunError, match=f"in use, found process {sleeper.pid}"),
        RunFolder.open(tmp_path / "r", Config(), "toy"),
    ):
        pass
    sleeper.kill()
    sleeper.wait()
    with RunFolder.open(tmp_path / "r", Config(), "toy"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_a_runner_on_another_host_is_dead_when_its_heartbeat_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder.open(tmp_path / "r", Config(), "toy"):
        pass
    lock = tmp_path / "r" / "lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert RunFolder.in_use(tmp_path / "r")
    monkeypatch.setattr(locks, "SILENT_AFTER_S", 0.2)
    with RunFolder.open(tmp_path / "r", Config(), "toy") as run:
        run.heartbeat(1, 1, loss=0.5)
    assert read_json(tmp_path / "r" / "status.json")["loss"] == 0.5


def test_a_runner_whose_folder_was_taken_over_ends_and_writes_nothing(tmp_path: Path) -> None:
    def overtaken() -> None:
        with RunFolder.open(tmp_path / "r", Config(), "toy") as run:
            (tmp_path / "r" / "lock").unlink()
            (tmp_path / "r" / "status.json").write_text("another runner's")
            run.finish({})

    with pytest.raises(RunError, match="took it over while this process was silent"):
        overtaken()
    assert not (tmp_path / "r" / "DONE").exists()
    assert (tmp_path / "r" / "status.json").read_text() == "another runner's"


def test_a_file_stop_ends_a_run_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(number: int, frame: object) -> None:
        raise Stopped("SIGTERM")

    def work() -> None:
        with RunFolder.open(tmp_path / "r", Config(), "toy"):
            (tmp_path / "r" / "stop").touch()
            time.sleep(5)

    monkeypatch.setattr(locks, "BEAT_S", 0.05)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            work()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert state(tmp_path / "r") == "interrupted"
    assert not (tmp_path / "r" / "stop").exists()


def test_parts_of_a_killed_writer_do_not_block_a_new_run(tmp_path: Path) -> None:
    (tmp_path / ".part-x.yaml").write_text("half")
    (tmp_path / "log.txt").write_text("line")
    with RunFolder.open(tmp_path, Config(), "toy") as run:
        run.finish({})
