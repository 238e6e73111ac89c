"""Where the cells of a study run: on this machine, on a cluster, or wherever the user types."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.core.errors import SettingsError, did_you_mean

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


def print_commands(order: Order) -> None:
    """Print one command per cell, in order: cells that others start from come first."""
    for cell in order.cells:
        order.say(f"{command(order.out)} {cell.key}")


def _sbatch(order: Order) -> None:
    from .slurm import submit

    submit(order)


def _submitit(order: Order) -> None:
    from .submitit_jobs import submit

    submit(order)


ENGINES: dict[str, Callable[[Order], None]] = {
    "print": print_commands,
    "sbatch": _sbatch,
    "submitit": _submitit,
}
"""Engines that hand cells over and return; `local`, the default, runs them and waits."""


def engine(name: str) -> Callable[[Order], None]:
    """Return an engine by its name.

    Raises:
        SettingsError: If there is none of this name.
    """
    if name not in ENGINES:
        known = ["local", *ENGINES]
        raise SettingsError(
            f"the engine must be one of {', '.join(known)}{did_you_mean(name, known)}", found=name
        )
    return ENGINES[name]
