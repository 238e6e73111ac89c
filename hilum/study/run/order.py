"""What an engine gets: the cells to run, and the command of each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..grid.cells import Cell
from ..settings import StudySettings
from .ledger import Entry, read

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What an engine gets to hand on.

    Attributes:
        study: The study; `study.yaml` in its folder holds it.
        cells: Cells to run, in an order in which none comes before what it needs.
        out: Folder of the study, absolute.
        say: Gets a line per thing done.
    """

    study: StudySettings
    cells: Sequence[Cell]
    out: Path
    say: Say


def open_cells(cells: Sequence[Cell]) -> tuple[list[Cell], int]:
    """Return what is left to hand on, and how many are left out since they or theirs failed."""
    entries: list[Entry] = read(cells)
    failed = {entry.cell.folder for entry in entries if entry.state == "failed"}
    left = [entry.cell for entry in entries if entry.state != "done"]
    kept = [c for c in left if c.folder not in failed and c.needs not in failed]
    return kept, len(left) - len(kept)


def command(out: Path, program: Sequence[str] = ("hilum",)) -> str:
    """Return the command of one cell, to be followed by its key, for a shell."""
    words = [*program, "study", "cell", str(out / "study.yaml"), "--out", str(out), "--key"]
    return shlex.join(words)


def this_python() -> list[str]:
    """Return how to start hilum with the interpreter that runs now, on any shell's PATH."""
    return [sys.executable, "-P", "-m", "hilum"]
