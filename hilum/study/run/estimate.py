"""How long a study takes and how much disk, from cells that are done or from a short calibration.

The calibration runs one cell of each stage for a few steps, with and without validation and test,
and solves for the cost of a step, a validation and everything that happens once.
"""

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hilum.core.files import write_json
from hilum.core.settings import merged
from hilum.core.side_files import read_side
from hilum.training.settings import TrainerSettings

from ..grid.cells import STAGES, Cell, Stage
from .ledger import Entry
from .run_cell import notes, run_cell

SHORT, LONG = 2, 8
"""Steps of the two runs whose difference is the cost of a step."""


@dataclass(frozen=True)
class Estimate:
    """What is left of a study.

    Attributes:
        seconds: Of one worker, by stage.
        bytes: On disk.
        unknown: Cells of a stage that nothing is known of.
        sources: What it was told from.
    """

    seconds: dict[str, float]
    bytes: float
    unknown: int
    sources: tuple[str, ...]

    @property
    def hours(self) -> float:
        """Hours of one worker for all that is left."""
        return sum(self.seconds.values()) / 3600


def estimate(entries: Sequence[Entry], out: Path) -> Estimate:
    """Estimate the cells that are not done: from like cells, from their stage, or by calibration.

    Args:
        entries: Every cell with its state.
        out: Folder of the study; may hold `calibration.json`.
    """
    file = out / "calibration.json"
    calibration: dict[str, Any] = read_side(file) if file.exists() else {}
    known, done = _known(entries)
    seconds: dict[str, float] = defaultdict(float)
    size, unknown, by_calibration = 0.0, 0, False
    for entry in entries:
        if entry.state == "done":
            continue
        cell = entry.cell
        cost = known.get(_arm(cell)) or known.get((cell.stage,))
        if cost is None and cell.stage in calibration:
            cost, by_calibration = _calibrated(cell, calibration[cell.stage]), True
        if cost is None:
            unknown += 1
            continue
        seconds[cell.stage] += cost[0]
        size += cost[1]
    sources = [f"{done} cells that are done"] if done else []
    sources += ["a calibration"] if by_calibration else []
    return Estimate(dict(seconds), size, unknown, tuple(sources))


def lines(found: Estimate, budget: float | None) -> list[str]:
    """Return what is left in words, and how it compares with the budget in hours."""
    if not found.seconds:
        hint = "time and disk are unknown: no like cell is done; `plan --calibrate` runs some steps"
        return [hint] if found.unknown else []
    stages = ", ".join(f"{stage} {duration(s)}" for stage, s in found.seconds.items())
    rest = f"; {found.unknown} cells unknown" if found.unknown else ""
    text = (
        f"left: about {duration(found.hours * 3600)} of one worker ({stages}) and "
        f"{found.bytes / 1e6:.0f} MB, from {' and '.join(found.sources)}{rest}"
    )
    if budget is None:
        return [text]
    over = found.hours - budget
    compared = f"{duration(over * 3600)} more than" if over > 0 else "within"
    return [text, f"budget: what is left is {compared} the {budget:g} h of the study"]


def calibrate(
    cells: Sequence[Cell], out: Path, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run a few steps of one cell per stage, and write `calibration.json`.

    Args:
        cells: Cells of the study; of each stage the first is tried.
        out: Folder of the study; what the runs write is removed again.
        report: Gets a line per stage.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".calibration-", dir=out))
    found: dict[str, Any] = {}
    encoder: Path | None = None
    try:
        for stage in STAGES:
            own = [cell for cell in cells if cell.stage == stage]
            # A rule takes no step; what a network takes is the question.
            own = [cell for cell in own if "baseline" not in cell.settings] or own
            if not own:
                continue
            found[stage] = _measure(own[0], folder, encoder)
            if stage == "pretrain":
                encoder = folder / "pretrain-short" / "encoder"
            numbers = found[stage]
            report(
                f"calibrated {stage}: {numbers['step']:.3f} s a step, "
                f"{numbers['validation']:.1f} s a validation, {numbers['once']:.1f} s once"
            )
        write_json(out / "calibration.json", found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def duration(seconds: float) -> str:
    """Return `40 s`, `12 min` or `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _measure(cell: Cell, folder: Path, encoder: Path | None) -> dict[str, float]:
    """Solve for the cost of a step, a validation and all that happens once, from four runs."""

    def run(name: str, steps: int, every: int, test: bool = False) -> dict[str, Any]:
        trainer = {"steps": steps, "validate_every": every, "save_every": steps, "minutes": None}
        more: dict[str, Any] = {"trainer": trainer}
        if cell.stage == "finetune":
            more["evaluate_test"] = test
            more |= {"init_from": str(encoder)} if cell.needs and encoder else {}
        where = folder / f"{cell.stage}-{name}"
        short = replace(
            cell, settings=merged(cell.settings, more), key=name, folder=where, needs=None
        )
        run_cell(short, {"mode": "disabled"}, lambda text: None)
        return notes(where)

    run("warm", SHORT, SHORT)
    short = run("short", SHORT, SHORT)["seconds"]
    long = run("long", LONG, LONG)["seconds"]
    often = run("often", LONG, LONG // 2)["seconds"]
    whole = run("whole", SHORT, SHORT, test=True)
    step = max(0.0, long - short) / (LONG - SHORT)
    validation = max(0.0, often - long)
    once = max(0.0, whole["seconds"] - SHORT * step - validation)
    return {"step": step, "validation": validation, "once": once, "bytes": whole["bytes"]}


def _calibrated(cell: Cell, numbers: dict[str, float]) -> tuple[float, float]:
    given = cell.settings.get("trainer", {})

    def setting(name: str) -> Any:
        return given.get(name, TrainerSettings.model_fields[name].default)

    steps = setting("steps")
    training = steps * numbers["step"]
    training += math.ceil(steps / setting("validate_every")) * numbers["validation"]
    if setting("minutes") is not None:
        training = min(training, setting("minutes") * 60)
    return numbers["once"] + training, numbers["bytes"]


def _known(entries: Sequence[Entry]) -> tuple[dict[tuple[object, ...], tuple[float, float]], int]:
    """Return median seconds and bytes of done cells by arm and by stage, and how many there are."""
    groups: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
    done = 0
    for entry in entries:
        if entry.state != "done" or "seconds" not in entry.about:
            continue
        done += 1
        cost = (float(entry.about["seconds"]), float(entry.about.get("bytes", 0)))
        groups[_arm(entry.cell)].append(cost)
        groups[(entry.cell.stage,)].append(cost)
    return {
        key: (statistics.median(c[0] for c in costs), statistics.median(c[1] for c in costs))
        for key, costs in groups.items()
    }, done


def _arm(cell: Cell) -> tuple[Stage | str, ...]:
    rest = (f"{name}={level}" for name, level in cell.levels.items() if name != "seed")
    return (cell.stage, *rest, "arm")
