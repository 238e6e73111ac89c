"""What is replaced is there at every moment, and what a killed writer leaves is cleared away."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hilum.core import parts
from hilum.core.files import atomic_folder, atomic_path, read_json, write_json, write_text
from hilum.core.parts import is_part, mend, sweep

from ..kill_points import killed_at


def put(folder: Path, number: int) -> None:
    with atomic_folder(folder) as part:
        write_json(part / "a.json", number)
        (part / "inner").mkdir()
        (part / "inner" / "b.txt").write_text(str(number))


def content(folder: Path) -> tuple[int, str]:
    return read_json(folder / "a.json"), (folder / "inner" / "b.txt").read_text()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_part(path.name)]


@pytest.mark.parametrize("one_step", [True, False], ids=["exchange", "two renames"])
def test_a_folder_whose_writer_is_killed_anywhere_is_whole_or_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool
) -> None:
    """Every operation is tried; the next writer needs no hand."""
    if not one_step:
        monkeypatch.setattr(parts, "_exchange", lambda one, other: False)
    gaps = 0
    for point in range(200):
        place = tmp_path / str(point)
        put(place / "x", 1)
        killed = killed_at(lambda place=place: put(place / "x", 2), point, place)
        if one_step or (place / "x").exists():
            assert content(place / "x") in ((1, "1"), (2, "2")), point
        gaps += not (place / "x").exists()
        mend(place / "x")
        assert content(place / "x") in ((1, "1"), (2, "2")), point
        assert left_in(place) == [], point
        put(place / "x", 3)
        assert content(place / "x") == (3, "3")
        assert [p.name for p in place.iterdir()] == ["x"]
        if not killed:
            break
    else:
        raise AssertionError("the work never came to its end")
    assert point > 5
    assert gaps == (0 if one_step else 1), "the gap is there where there is no exchange, and mended"


def test_a_reader_finds_a_whole_folder_at_every_moment(tmp_path: Path) -> None:
    put(tmp_path / "x", 0)
    if not parts._exchange(tmp_path / "x", tmp_path / "x"):
        pytest.skip("this file system cannot exchange two names")
    missing, end = [], threading.Event()

    def look() -> None:
        while not end.is_set():
            if not (tmp_path / "x").exists():
                missing.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(50):
        put(tmp_path / "x", number)
    end.set()
    thread.join()
    assert not missing


def test_what_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "x") as part, atomic_path(tmp_path / "y.txt") as file:
        sweep(tmp_path)
        mend(tmp_path / "x")
        assert part.is_dir()
        assert file.is_file()
        file.write_text("y")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "y.txt"]


def test_leftovers_of_other_names_stay_for_their_writers(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / f".part-{parts._key(name)}-0").mkdir()
    mend(tmp_path / "x")
    assert left_in(tmp_path) == [f".part-{parts._key('y')}-0"]
    sweep(tmp_path)
    assert left_in(tmp_path) == []


def test_a_link_to_a_folder_and_to_a_file_stays_a_link(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    put(disk / "x", 1)
    write_text(disk / "f.txt", "1")
    (tmp_path / "x").symlink_to(disk / "x")
    (tmp_path / "f.txt").symlink_to(disk / "f.txt")
    (tmp_path / "new").symlink_to(disk / "new")
    for name in ("x", "new"):
        put(tmp_path / name, 2)
        assert (tmp_path / name).is_symlink()
        assert content(disk / name) == (2, "2")
    write_text(tmp_path / "f.txt", "2")
    assert (tmp_path / "f.txt").is_symlink()
    assert (disk / "f.txt").read_text() == "2"


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_that_a_library_keeps_to_itself_get_the_usual_mode(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_folder(tmp_path / "x") as part:
            (part / "weights").touch(0o600)
            (part / "script").touch(0o700)
    finally:
        os.umask(before)
    assert (tmp_path / "x" / "weights").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "x" / "script").stat().st_mode & 0o777 == 0o700 & ~mask
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_file_that_lies_elsewhere_too_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(0o600)
    with atomic_folder(tmp_path / "x") as part:
        os.link(tmp_path / "mine", part / "linked")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_what_is_renamed_into_place_is_on_the_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order counts: a name that the disk has, of content that it has not, is an empty file."""
    told: list[str] = []
    sync, rename = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        told.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().suffix}")
        sync(handle)

    def replace(self: Path, target: Path) -> Path:
        told.append("rename")
        return rename(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("the names of open files are not known here")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_text(tmp_path / "a.txt", "a")
    assert told == ["sync .txt", "rename"]
    told.clear()
    with atomic_folder(tmp_path / "x") as part:
        (part / "b.npy").touch()
    assert told == ["sync .npy", "sync ", "rename"]


def test_a_name_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "long")
    put(tmp_path / ("m" * 255), 1)
    put(tmp_path / ("m" * 255), 2)
    assert content(tmp_path / ("m" * 255)) == (2, "2")
