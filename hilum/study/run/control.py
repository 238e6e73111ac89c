"""Steer a study from anywhere that sees its folder: clear failures, read logs, ask runners to stop.

A cancel is a new word in the file `cancel`. A runner remembers the word that was there when it
began, so nobody has to remove it and no clocks are compared.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hilum.core.errors import Stopped, UserError, did_you_mean
from hilum.core.files import write_text

from ..grid.cells import Cell
from .run_cell import busy, failure
from .slurm import cancel_jobs

LOOK_S = 2.0
"""Seconds between two looks at `cancel`."""

AGAIN_S = 30.0
"""Seconds until a runner that has not stopped is asked again."""


def retry(cells: Sequence[Cell], names: Sequence[str] = ()) -> list[str]:
    """Clear the failures of all cells, or of those named, and return a line for each."""
    chosen = [cell for name in names for cell in find(cells, name)] if names else cells
    lines = []
    for cell in dict.fromkeys(cell.folder for cell in chosen if failure(cell)):
        (cell / "failed.json").unlink(missing_ok=True)
        lines.append(f"cleared   {cell.name}")
    return lines or ["no cell has failed"]


def logs(cells: Sequence[Cell], name: str = "", lines: int = 40) -> list[str]:
    """Return the end of a cell's log; without a name, of the log that was written to last.

    Raises:
        UserError: If several cells fit the name, or none has a log.
    """
    found = [c for c in (find(cells, name) if name else cells) if _log(c).exists()]
    if not found:
        raise UserError(
            "a cell must have run before it has a log",
            found=f"none of {name!r}",
            remedy="`hilum study status` shows who has run",
        )
    if name and len(found) > 1:
        some = ", ".join(repr(cell.name) for cell in found[:4])
        raise UserError("the name must fit one cell", found=some, remedy="give more of it")
    cell = max(found, key=lambda cell: _log(cell).stat().st_mtime)
    with _log(cell).open(encoding="utf-8", errors="replace") as stream:
        end = deque(stream, maxlen=lines)
    return [f"{_log(cell)}:", *(line.rstrip("\n") for line in end)]


def cancel(out: Path, cells: Sequence[Cell]) -> list[str]:
    """Ask every runner of the study to save its cell and end."""
    running = [cell for cell in cells if not cell.done and busy(cell)]
    if out.exists():
        write_text(out / "cancel", f"{uuid.uuid4().hex}\n")
    for cell in running:
        with contextlib.suppress(OSError):
            (cell.folder / "stop").touch()  # for a run that no study started
    lines = [f"stopping  {cell.name}" for cell in running] or ["no cell is running"]
    return [*lines, *cancel_jobs(out)]


def word(out: Path) -> str:
    """Return the last cancel, to be compared with a later one; empty if there was none."""
    try:
        return (out / "cancel").read_text(encoding="utf-8")
    except OSError:
        return ""


@contextlib.contextmanager
def cancellable(out: Path) -> Iterator[None]:
    """Run a block that `cancel` ends as SIGTERM does.

    Raises:
        Stopped: With exit code 130 after a cancel, so that no batch script starts it again.
    """
    before, over = word(out), threading.Event()

    def look() -> None:
        wait = LOOK_S
        while not over.wait(wait):
            if word(out) not in ("", before):
                os.kill(os.getpid(), signal.SIGTERM)
                wait = AGAIN_S

    here = threading.current_thread() is threading.main_thread()
    plain = here and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if plain:
        signal.signal(signal.SIGTERM, _stop)
    thread = threading.Thread(target=look, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        if word(out) not in ("", before):
            raise Stopped("hilum study cancel", 130) from None
        raise
    finally:
        over.set()
        thread.join()
        if plain:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def find(cells: Sequence[Cell], name: str) -> list[Cell]:
    """Return the cells of this key or name; else those that hold it in their name.

    Raises:
        UserError: If there is none.
    """
    exact = [cell for cell in cells if name in (cell.key, cell.name, cell.folder.name)]
    found = exact or [cell for cell in cells if name.lower() in cell.name.lower()]
    if not found:
        raise UserError(
            f"a cell must be called {name!r}{did_you_mean(name, [cell.name for cell in cells])}",
            remedy="`hilum study status` lists them",
        )
    return found


def _log(cell: Cell) -> Path:
    return cell.folder / "log.txt"


def _stop(number: int, frame: Any) -> None:
    raise Stopped(signal.Signals(number).name)
