"""One cell of a study as a command: what printed commands, SLURM and W&B agents start."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilum.core.errors import SettingsError, Stopped, UserError, did_you_mean

from ..commands import read
from ..grid.cells import Cell
from ..settings import StudySettings
from .control import cancellable
from .run_cell import busy, clear_dead, failure, run_cell, taken

Say = Callable[[str], None]

PAUSE_S = 1.0
"""Seconds between two looks at a cell that another runner has."""


def run_one(
    file: Path, out: Path, *, key: str = "", levels: Sequence[str] = (), say: Say = print
) -> Path | None:
    """Run one cell to its end, after the one it starts from if need be.

    A cell that another runner has is waited for.

    Args:
        file: Study file; `study.yaml` of the study's folder holds the overrides, too.
        out: Folder of the study.
        key: Key of the cell.
        levels: `factor=level` for every factor, in place of the key.
        say: Gets a line now and then.

    Returns:
        Folder of the cell; `None` if the study leaves this combination out.

    Raises:
        SettingsError: If both name the cell.
        UserError: If there is no such cell, or it failed before and was not cleared.
        Stopped: After SIGUSR1, SIGTERM or Ctrl-C (exit code 75: start it again), or after
            `hilum study cancel` (130: do not).
    """
    if key and levels:
        raise SettingsError(
            "a cell is named by its key or by its levels",
            found=f"--key {key} and {' '.join(levels)}",
            remedy="leave out one of them",
        )
    with _listening():
        study, cells = read(file, out)
        cell = _of_key(cells, key) if key else _of_levels(study, cells, levels)
        if cell is None:
            say("the study leaves this combination out")
            return None
        tracking = {"project": study.name}
        with cancellable(out):
            for first in cells:
                if first.folder == cell.needs:
                    _finish(first, tracking, say)
            _finish(cell, tracking | _sweep(os.environ), say)
    return cell.folder


def _finish(cell: Cell, tracking: dict[str, Any], say: Say) -> None:
    waits = False
    while not cell.done:
        if message := failure(cell):
            raise UserError(
                "the cell must not have failed",
                file=cell.folder,
                found=message,
                remedy="mend the cause, then `hilum study retry`",
            )
        if not busy(cell):
            try:
                run_cell(cell, tracking, say, sys.stdout)
            except UserError as error:
                if not taken(error):
                    raise
        elif not waits:
            waits = True
            say(f"waiting   another runner has {cell.name}")
        if not cell.done:
            time.sleep(PAUSE_S)
    clear_dead([cell])
    say(f"done      {cell.stage} {cell.name}")


def _of_key(cells: Sequence[Cell], key: str) -> Cell:
    for cell in cells:
        if cell.key == key:
            return cell
    raise UserError(
        f"the study must have a cell {key}",
        remedy="its file, its store or an encoder changed since the command was made; "
        "run `hilum study run` again",
    )


def _of_levels(study: StudySettings, cells: Sequence[Cell], levels: Sequence[str]) -> Cell | None:
    wanted: dict[str, str] = {}
    for given in levels:
        name, _, level = given.partition("=")
        wanted[name] = level
    for name in wanted:
        if name not in study.factors:
            raise SettingsError(
                f"{name!r} must be a factor of the study{did_you_mean(name, study.factors)}",
                remedy="name a factor of the study file",
            )
    if missing := [name for name in study.factors if name not in wanted]:
        raise SettingsError(
            "a cell needs its key or a level of every factor",
            found=f"no {', '.join(missing)}",
            remedy="give a level of each, or --key",
        )
    for name, level in wanted.items():
        known = [str(one) for one in study.factors[name]]
        if level not in known:
            raise SettingsError(
                f"{name} must be one of {', '.join(known)}",
                found=level,
                remedy="name a level of the study file",
            )
    for cell in cells:
        own = {name: str(level) for name, level in cell.levels.items()}
        if cell.stage == "finetune" and own == wanted:
            return cell
    return None


def _sweep(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what ties a run to the sweep whose agent started it."""
    if not environment.get("WANDB_SWEEP_ID"):
        return {}
    identity = environment.get("WANDB_RUN_ID")
    return {"mode": "online"} | ({"id": identity} if identity else {})


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Stop cleanly on SIGUSR1, which would else end the process between two trainings."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, _stop)
    try:
        yield
    finally:
        signal.signal(number, before)


def _stop(number: int, frame: Any) -> None:
    raise Stopped(signal.Signals(number).name)
