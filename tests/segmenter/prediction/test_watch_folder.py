"""A watched folder hands on each case once, when it is complete, and again when it changes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from hilum.core.errors import DataError
from hilum.segmenter.prediction.watch_folder import watch


def put(folder: Path, text: str = "x") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ct.nii.gz").write_text(text)
    return folder


def test_each_complete_folder_comes_once(tmp_path: Path) -> None:
    seen: list[str] = []
    for name in ("b", "a", ".hidden"):
        put(tmp_path / name)
    put(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    said: list[str] = []
    number = watch(
        tmp_path,
        lambda place: seen.append(place.name),
        every=0.01,
        settle=0.02,
        ignore=[tmp_path / "out"],
        say=said.append,
        polls=8,
    )
    assert seen == ["a", "b"]
    assert number == 2
    assert said == ["a: done in 0 s", "b: done in 0 s"]


def test_a_folder_that_still_grows_waits(tmp_path: Path) -> None:
    place, times, said = put(tmp_path / "a"), [], []
    last = 0.0

    def grow() -> None:
        nonlocal last
        for number in range(12):
            (place / f"{number}.dcm").write_text("x" * number)
            last = time.monotonic()
            time.sleep(0.05)

    writer = threading.Thread(target=grow)
    writer.start()
    watch(
        tmp_path,
        lambda _: times.append(time.monotonic()),
        every=0.02,
        settle=0.3,
        say=said.append,
        polls=60,
    )
    writer.join()
    (done,) = times
    assert done >= last + 0.25


def test_changed_files_come_again_and_a_bad_case_is_named(tmp_path: Path) -> None:
    place, said, calls = put(tmp_path / "a"), [], []

    def work(folder: Path) -> None:
        calls.append((folder / "ct.nii.gz").read_text())
        if calls[-1] == "x":
            (place / "ct.nii.gz").write_text("mended")
            raise DataError("the file must be NIfTI", file="ct.nii.gz")

    assert watch(tmp_path, work, every=0.01, settle=0.0, say=said.append, polls=5) == 1
    assert calls == ["x", "mended"]
    assert said[0] == "a: failed: ct.nii.gz: the file must be NIfTI"


def test_ctrl_c_ends_it_in_peace(tmp_path: Path) -> None:
    put(tmp_path / "a")
    said: list[str] = []

    def work(folder: Path) -> None:
        raise KeyboardInterrupt

    assert watch(tmp_path, work, every=0.01, settle=0, say=said.append) == 0
    assert said == [f"stopped watching {tmp_path}: 0 done"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder to watch"):
        watch(tmp_path / "none", print)
