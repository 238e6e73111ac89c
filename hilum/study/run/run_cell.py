"""Run one cell as its command would: with its own log, its cost, and a note when it fails.

A cell is claimed by a lock next to its folder before anything is read or built, so that a runner
that comes late has neither announced the cell nor written a line into its log.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from hilum.core.errors import RunError, Stopped, StoreError, UserError
from hilum.core.files import hash_of_file, write_json
from hilum.core.locks import discard, take
from hilum.core.parts import sweep
from hilum.core.runs import WATCH
from hilum.core.side_files import read_side
from hilum.datasets.store.places import Place

from ..grid.arms import arm
from ..grid.cells import Cell, resolve

Report = Callable[[str], None]


def run_cell(
    cell: Cell, tracking: dict[str, Any], report: Report, echo: TextIO | None = None
) -> None:
    """Run a cell to its end; what it prints goes to `log.txt` in its folder.

    A cell that is done, perhaps since a moment ago by another runner, is left alone.

    Args:
        cell: The cell; what it needs is done.
        tracking: W&B mode and project; the cell adds its group, name and id.
        report: Gets one line when it begins.
        echo: Where its output is shown as well.

    Raises:
        StoreError: If the store is not the one that the study was planned with.
        RunError: If another runner has the cell.
        Stopped: After a signal; the state is saved.
        Exception: What the command raised, after `failed.json` was written.
    """
    with _claimed(cell):
        if cell.done:
            return
        check_data(cell)
        cell.folder.mkdir(parents=True, exist_ok=True)
        _sweep(cell.folder)
        about = {"stage": cell.stage, "levels": cell.levels, "key": cell.key, "recipe": cell.recipe}
        about |= {"data": cell.data} | ({"sources": cell.sources} if cell.sources else {})
        write_json(cell.folder / "cell.json", notes(cell.folder) | about)
        report(f"starting  {cell.stage} {cell.name}")
        began = time.monotonic()
        try:
            with _logged(cell.folder / "log.txt", echo):
                _told(cell, tracking)
        except (Stopped, KeyboardInterrupt):
            _note_cost(cell, began)
            raise
        except Exception as error:
            if not taken(error) and not no_room(error):
                note_failure(cell, f"{type(error).__name__}: {error}")
            raise
        _note_cost(cell, began)


def claim(cell: Cell) -> Path:
    """Return the lock file of a cell, next to its folder."""
    return cell.folder.with_name(f".{cell.folder.name}.lock")


def busy(cell: Cell) -> bool:
    """Say whether a living runner has the cell, or a living process its folder."""
    # Both are asked, always: silence elsewhere is measured from the first look.
    owners = [WATCH.owner(claim(cell)), WATCH.owner(cell.folder / "lock")]
    return any(owners)  # a damaged lock has no owner; whoever takes it is told so at once


def clear_dead(cells: Iterable[Cell]) -> None:
    """Remove what runners left that were killed when their cell was just done: no one claims it."""
    done = [cell for cell in cells if cell.done]
    for cell in done:
        if claim(cell).exists() and not busy(cell):
            _sweep(cell.folder)
    discard([lock for cell in done for lock in (cell.folder / "lock", claim(cell))], WATCH)


@contextlib.contextmanager
def _claimed(cell: Cell) -> Iterator[None]:
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = take(claim(cell), WATCH)
    lock.keep()
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    """Remove what a runner that was killed had half written, unless somebody else works here."""
    if WATCH.owner(folder / "lock") is None:
        sweep(folder)


def note_failure(cell: Cell, message: str) -> None:
    """Write `failed.json`; no runner tries the cell again until it is gone (`study retry`)."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(
        cell.folder / "failed.json",
        {"message": message, "host": socket.gethostname(), "pid": os.getpid(), "time": when},
    )


def taken(error: BaseException) -> bool:
    """Say whether an error only means that another runner has the cell."""
    return isinstance(error, RunError) and "in use" in error.rule


def failure(cell: Cell) -> str:
    """Return why the last attempt failed; empty if it did not, or since `study retry`."""
    file = cell.folder / "failed.json"
    return str(read_side(file).get("message", "")) or "unknown" if file.exists() else ""


def no_room(error: BaseException) -> bool:
    """Say whether an error is the disk's, full or read-only: every other cell would fail, too."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if not isinstance(error, UserError):
        return False
    return no_room(error.__cause__) if error.__cause__ is not None else False


def notes(folder: Path) -> dict[str, Any]:
    """Return `cell.json` of a cell's folder, or nothing."""
    file = folder / "cell.json"
    return read_side(file) if file.exists() else {}


def check_data(cell: Cell) -> None:
    """Raise unless the case store is the one that the cell was planned with."""
    if not cell.data:
        return
    found = fingerprint(cell.settings["store"])
    if found != cell.data:
        raise StoreError(
            "the case store must not change between the cells of a study",
            file=cell.settings["store"],
            found=f"fingerprint {found} instead of {cell.data}",
            remedy="plan and run again: cells of the old store are kept, and named stale",
        )


def fingerprint(store: Place) -> str:
    """Return the fingerprint of a case store."""
    from hilum.datasets.store.case_store import CaseStore

    return CaseStore(store).fingerprint


def encoder_mark(folder: Path) -> dict[str, Any]:
    """Return what tells one encoder from another: hash, bytes and date of its weights."""
    file = folder / "encoder" / "model.safetensors"
    if not file.exists():
        return {}
    stat = file.stat()
    return {"hash": hash_of_file(file), "size": stat.st_size, "mtime": stat.st_mtime_ns}


def _told(cell: Cell, tracking: dict[str, Any]) -> None:
    """Run the command; its error is shown where its output is."""
    try:
        _command(cell, tracking)
    except Exception as error:
        if not isinstance(error, Stopped) and not taken(error):
            traceback.print_exc()
        raise


def _command(cell: Cell, tracking: dict[str, Any]) -> None:
    own = {
        **tracking,
        # W&B averages over a group: repetitions of an arm by chance.
        "group": tracking.get("group") or f"{cell.stage} {arm(cell.described)}",
        "job_type": cell.stage,
        "name": cell.name,
        "id": tracking.get("id") or cell.key,
        "tags": [f"{name}:{level}" for name, level in cell.levels.items()],
        "factors": {
            name: level if isinstance(level, str | int | float) else str(level)
            for name, level in cell.levels.items()
        },
    }
    if cell.stage == "pretrain":
        from hilum.pretrain.run import pretrain
        from hilum.pretrain.settings import PretrainSettings

        pretrain(resolve(cell, PretrainSettings, own), cell.folder)
    else:
        from hilum.finetune.run import finetune
        from hilum.finetune.settings import FinetuneSettings

        if cell.needs is not None:
            write_json(
                cell.folder / "cell.json",
                notes(cell.folder) | {"encoder": encoder_mark(cell.needs)},
            )
        finetune(resolve(cell, FinetuneSettings, own), cell.folder)


def _note_cost(cell: Cell, began: float) -> None:
    """Add the seconds of this attempt, and the bytes on disk, to `cell.json`."""
    about = notes(cell.folder)
    size = sum(path.stat().st_size for path in cell.folder.rglob("*") if path.is_file())
    seconds = about.get("seconds", 0) + time.monotonic() - began
    write_json(cell.folder / "cell.json", about | {"seconds": round(seconds, 2), "bytes": size})


class _Tee:
    """Writes to several streams; looks like a plain file, so that nobody draws bars into it."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams, self.encoding = streams, "utf-8"

    def write(self, text: str) -> int:
        for stream in self.streams:
            with contextlib.suppress(OSError, ValueError):  # a full disk must not stop a training
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self.streams[0].fileno()


@contextlib.contextmanager
def _logged(file: Path, echo: TextIO | None) -> Iterator[None]:
    """Send what this process prints to a file."""
    with file.open("a", encoding="utf-8", buffering=1) as log:
        tee: Any = _Tee(log, *([echo] if echo else []))
        tee.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} ")
        tee.write(f"{socket.gethostname()} {os.getpid()} ---\n")
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = tee
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
