"""Watch a folder, and hand on each new case once its files have stopped to change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.core.errors import DataError, UserError

Files = tuple[tuple[str, int, int], ...]
"""Name, bytes and time of change of each file."""


@dataclass
class _Entry:
    """What is known of a folder inside of the watched one."""

    files: Files
    since: float
    done: bool = False


def watch(
    folder: str | Path,
    work: Callable[[Path], object],
    *,
    every: float = 5.0,
    settle: float = 10.0,
    ignore: Sequence[Path] = (),
    say: Callable[[str], None] = print,
    polls: int | None = None,
) -> int:
    """Call a function with every folder that comes to lie in another, until Ctrl-C.

    A folder counts as complete when nothing in it has changed for `settle` seconds, since a copy
    from a scanner or a network comes file by file. One whose files change later comes again. A
    bad one is named and left alone until its files change.

    Args:
        folder: Watched; may be empty at first.
        work: Gets each complete folder.
        every: Seconds between two looks.
        settle: Seconds without a change.
        ignore: Folders to pass over, such as that of the results.
        say: Gets a line for each folder that is done or bad.
        polls: Stop after so many looks; empty: never.

    Returns:
        How many were done.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder to watch", file=folder, remedy="make it first")
    skip = {path.resolve() for path in ignore}
    known: dict[Path, _Entry] = {}
    count = 0
    try:
        while polls is None or polls > 0:
            for place in _complete(folder, known, skip, settle):
                count += _do(place, work, say)
                known[place].done = True
            polls = None if polls is None else polls - 1
            if polls != 0:
                time.sleep(every)
    except KeyboardInterrupt:
        say(f"stopped watching {folder}: {count} done")
    return count


def _complete(
    folder: Path, known: dict[Path, _Entry], skip: set[Path], settle: float
) -> list[Path]:
    """Return the folders that are complete and not done."""
    now, found = time.monotonic(), []
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or not place.is_dir() or place.resolve() in skip:
            continue
        files = _files(place)
        entry = known.get(place)
        if entry is None or entry.files != files:
            known[place] = entry = _Entry(files, now)
        if files and not entry.done and now - entry.since >= settle:
            found.append(place)
    return found


def _do(place: Path, work: Callable[[Path], object], say: Callable[[str], None]) -> bool:
    began = time.monotonic()
    try:
        work(place)
    except UserError as error:
        say(f"{place.name}: failed: {error}")
        return False
    say(f"{place.name}: done in {time.monotonic() - began:.0f} s")
    return True


def _files(folder: Path) -> Files:
    """Return what shows that a file was added, has grown or was written again."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                stat = path.stat()
                found.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:  # a copier renames its temporary files
            continue
    return tuple(sorted(found))
