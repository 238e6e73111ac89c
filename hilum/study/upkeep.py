"""Commands on a study that is running or has run, by its file: retry, logs, cancel, sweep, cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .commands import check, read
from .grid.sweep import write_sweep
from .run import control
from .run.cell_command import run_one
from .run.order import this_python

Say = Callable[[str], None]


def retry(
    file: Path, out: Path, settings: Sequence[str] = (), cell: Sequence[str] = ()
) -> list[str]:
    """Clear the failures of all cells, or of those named; the next run tries them again."""
    return control.retry(read(file, out, settings)[1], cell)


def logs(
    file: Path, out: Path, settings: Sequence[str] = (), cell: str = "", lines: int = 40
) -> list[str]:
    """Return the end of a cell's log; without a name, of the log that was written to last."""
    return control.logs(read(file, out, settings)[1], cell, lines)


def cancel(file: Path, out: Path, settings: Sequence[str] = ()) -> list[str]:
    """Ask every runner of the study, wherever it is, to save its cell and end."""
    return control.cancel(out, read(file, out, settings)[1])


def sweep(file: Path, out: Path, settings: Sequence[str] = ()) -> Path:
    """Write a W&B sweep over the factors, whose agents run the cells, and return its file."""
    given, cells = read(file, out, settings)
    check(cells)
    return write_sweep(given, out, this_python())


def cell(
    file: Path, out: Path, levels: Sequence[str] = (), key: str = "", *, say: Say = print
) -> Path | None:
    """Run one cell, and what it starts from."""
    return run_one(file, out, key=key, levels=levels, say=say)
