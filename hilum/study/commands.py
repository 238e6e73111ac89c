"""Plan, run and report a study: the Python side of `hilum study`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hilum.core.errors import UserError
from hilum.core.outputs import check_output, mark
from hilum.core.settings import load, write_yaml
from hilum.datasets.store.places import Place

from .grid.cells import STAGES, Cell, expand
from .grid.checking import check
from .grid.idle import idle_lines
from .run import control, engines, estimate, ledger
from .run import stale as stale_cells
from .run.local import run_cells
from .run.order import Order, open_cells
from .run.run_cell import fingerprint
from .settings import StudySettings

Say = Callable[[str], None]


def plan(
    file: Path,
    out: Path,
    settings: Sequence[str] = (),
    *,
    calibrate: bool = False,
    say: Say = print,
) -> list[str]:
    """Return one line per cell with its state, then pretraining, time and disk, and stale cells.

    Args:
        file: Study file.
        out: Folder of the study.
        settings: `key=value`, over the file's.
        calibrate: Whether to run a few steps of one cell per stage first.
        say: Gets a line per calibrated stage.

    Raises:
        SettingsError: If the study or the settings of any cell are wrong.
    """
    study, cells = read(file, out, settings)
    entries = ledger.read(cells)
    idle = check([entry.cell for entry in entries if entry.state != "done"])
    if calibrate:
        mark(out, "study")
        estimate.calibrate(cells, out, say)
    return [
        f"study {study.name} in {out}",
        *ledger.table(entries),
        *ledger.shared(entries),
        *ledger.equal(entries),
        *idle_lines(study, idle),
        *estimate.lines(estimate.estimate(entries, out), study.budget),
        *stale_cells.lines(stale_cells.stale(entries, out)),
    ]


def run(
    file: Path,
    out: Path,
    settings: Sequence[str] = (),
    *,
    workers: int = 1,
    tracking: dict[str, Any] | None = None,
    say: Say = print,
) -> Path:
    """Run what is not done, write the report, and return its path.

    Raises:
        UserError: If a cell failed; the others ran and the report says so.
        Stopped: If the user asked for it.
    """
    study, cells = _begin(file, out, settings, say)
    own = {"project": study.name, **(tracking or {})}
    with control.cancellable(out):
        failed = run_cells(cells, own, workers=workers, report=say)
    page = report(file, out, settings, tracking=own)
    from .report.tracking import sync_command

    if command := sync_command(out):
        say(f"to see it on W&B: {command}")
    if failed:
        raise UserError(
            "every cell must succeed",
            found=_some(failed),
            remedy=f"the report {page} shows the others; mend the cause, then `hilum study retry`",
        )
    return page


def submit(
    file: Path, out: Path, settings: Sequence[str] = (), *, engine: str, say: Say = print
) -> None:
    """Hand every cell that is left to another engine, and return.

    Args:
        file: Study file.
        out: Folder of the study; relative paths of the study hold from here on every machine.
        settings: `key=value`, over the file's.
        engine: Name of an engine other than `local`.
        say: Gets a line per thing done; the commands with the engine `print`.

    Raises:
        SettingsError: If there is no such engine, or any cell has wrong settings.
        UserError: If the engine is not here or refuses.
    """
    hand_over = engines.engine(engine)
    study, cells = _begin(file, out, settings, say if engine != "print" else _quiet)
    left, failed = open_cells(cells)
    if failed and engine != "print":
        say(f"{failed} cells are left out, since they or their pretraining failed")
    hand_over(Order(study, left, out.resolve(), say))


def _begin(
    file: Path, out: Path, settings: Sequence[str], say: Say
) -> tuple[StudySettings, list[Cell]]:
    """Check every cell, write the study down, and say what is left."""
    study, cells = read(file, out, settings)
    entries = ledger.read(cells)
    idle = check([entry.cell for entry in entries if entry.state != "done"])
    mark(out, "study")
    write_yaml(out / "study.yaml", study)
    say(ledger.summary(entries))
    for line in [*ledger.equal(entries), *idle_lines(study, idle)]:
        say(line)
    for line in stale_cells.lines(stale_cells.stale(entries, out)):
        say(line)
    return study, cells


def _quiet(text: str) -> None:
    """Say nothing: what is printed goes into a shell."""


def report(
    file: Path,
    out: Path,
    settings: Sequence[str] = (),
    *,
    tracking: dict[str, Any] | None = None,
) -> Path:
    """Write `report.html` and the tables from the cells that are done."""
    from .report.report import write_report
    from .report.tracking import log_study

    study, cells = read(file, out, settings)
    mark(out, "study")
    found = write_report(study, out, ledger.read(cells))
    if tracking is not None:
        log_study(study, out, found, tracking)
    return found.page


def _some(messages: Sequence[str], most: int = 3) -> str:
    more = len(messages) - most
    return "; ".join([*messages[:most], *([f"and {more} more"] if more > 0 else [])])


def status(file: Path, out: Path, settings: Sequence[str] = ()) -> list[str]:
    """Return one line per cell with its state; nothing is checked, folders are only read."""
    study, cells = read(file, out, settings)
    entries = ledger.read(cells)
    found = stale_cells.lines(stale_cells.stale(entries, out))
    return [f"study {study.name} in {out}", *ledger.table(entries), *found]


def collect(file: Path, out: Path, settings: Sequence[str] = ()) -> list[Path]:
    """Write `results.csv` and `tables/` from the cells that are done, without the report."""
    from .report.collecting import write_tables

    study, cells = read(file, out, settings)
    mark(out, "study")
    return write_tables(study, out, ledger.read(cells))


def read(file: Path, out: Path, settings: Sequence[str] = ()) -> tuple[StudySettings, list[Cell]]:
    """Read a study file and expand it to its cells.

    Raises:
        RunError: If the folder holds something else than a study.
    """
    study = load(StudySettings, [file], settings)
    check_output(out, "study", earlier=_is_study)
    known: dict[str, str] = {}

    def mark_of(place: Place) -> str:
        key = json.dumps(place, sort_keys=True)
        if key not in known:
            known[key] = fingerprint(place)
        return known[key]

    return study, expand(study, out, mark_of)


def _is_study(folder: Path) -> bool:
    """Say whether a folder is one of a study of before folders were marked."""
    return (folder / "study.yaml").is_file() or any((folder / stage).is_dir() for stage in STAGES)
