"""What has become of each cell, read from the folders alone: no daemon, no database."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.locks import looks_dead
from hilum.core.plain import json_of
from hilum.core.side_files import check_side

from ..grid.cells import Cell
from .run_cell import busy, claim

STATES = ("done", "running", "interrupted", "failed", "waiting", "new")

FEW = 200
"""Up to so many cells each has its line; of more, only those that run or failed."""


@dataclass(frozen=True)
class Entry:
    """State of one cell, what its status file says, and what `cell.json` knows of its cost."""

    cell: Cell
    state: str
    status: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)


def read(cells: Sequence[Cell]) -> list[Entry]:
    """Return the state of every cell; `waiting` means that its pretraining run is not done."""
    there = {folder: names_in(folder) for folder in {cell.folder.parent for cell in cells}}
    entries: list[Entry] = []
    done: set[Path] = set()
    for cell in cells:
        if cell.folder.name not in there[cell.folder.parent]:
            entry = Entry(cell, "waiting" if cell.needs and cell.needs not in done else "new", {})
        else:
            entry = _entry(cell, done)
        if entry.state == "done":
            done.add(cell.folder)
        entries.append(entry)
    return entries


def _entry(cell: Cell, done: set[Path]) -> Entry:
    inside = names_in(cell.folder)
    about = read_notes(cell.folder) if "cell.json" in inside else {}
    if "DONE" in inside:
        return Entry(cell, "done", {}, about)
    status = _json(cell.folder / "status.json") if "status.json" in inside else {}
    locks = [lock for lock in (cell.folder / "lock", claim(cell)) if lock.exists()]
    if locks and busy(cell) and not all(map(looks_dead, locks)):
        return Entry(cell, "running", status, about)
    if "failed.json" in inside:
        return Entry(cell, "failed", status | _json(cell.folder / "failed.json"), about)
    if status:
        return Entry(cell, "interrupted", status, about)
    return Entry(cell, "waiting" if cell.needs and cell.needs not in done else "new", {}, about)


def table(entries: Sequence[Entry]) -> list[str]:
    """Return one line per cell, then the counts; of very many cells only those to look at."""
    few = len(entries) <= FEW
    shown = [e for e in entries if few or e.state in ("running", "interrupted", "failed")]
    width = max((len(entry.cell.name) for entry in shown), default=0)
    lines = []
    for entry in shown:
        step = entry.status.get("step")
        more = f"step {step} of {entry.status.get('steps')}" if entry.state == "running" else ""
        more = str(entry.status.get("message", "")) if entry.state == "failed" else more
        lines.append(
            f"{entry.state:<12}{entry.cell.stage:<9}{entry.cell.name:<{width}}  {more}".rstrip()
        )
    return [*lines, summary(entries)]


def shared(entries: Sequence[Entry], most: int = 20) -> list[str]:
    """Return a line per pretraining cell with how many fine-tuning cells start from it."""
    users = Counter(entry.cell.needs for entry in entries if entry.cell.needs)
    first = [entry for entry in entries if entry.cell.folder in users]
    lines = [
        f"encoder     {entry.cell.name}: {users[entry.cell.folder]} fine-tuning cells start from it"
        for entry in first[:most]
    ]
    return [*lines, *([f"and {len(first) - most} more encoders"] if len(first) > most else [])]


def equal(entries: Sequence[Entry], most: int = 3) -> list[str]:
    """Say which combinations of levels have the settings of another, and so no own cell."""
    pairs = [(name, entry.cell.name) for entry in entries for name in entry.cell.also]
    if not pairs:
        return []
    some = ", ".join(f"{name} (as {other})" for name, other in pairs[:most])
    more = f", and {len(pairs) - most} more" if len(pairs) > most else ""
    count = "1 combination of levels has" if len(pairs) == 1 else f"{len(pairs)} combinations have"
    return [
        f"{count} the settings of another and no cell of its own: {some}{more}. A "
        "comparison pairs only runs that both arms have."
    ]


def summary(entries: Sequence[Entry]) -> str:
    """Return `12 cells: 2 pretrain, 10 finetune; 3 done, 9 new`."""
    stages = Counter(entry.cell.stage for entry in entries)
    states = Counter(entry.state for entry in entries)
    return (
        f"{len(entries)} cells: "
        + ", ".join(f"{count} {stage}" for stage, count in stages.items())
        + "; "
        + ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    )


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder; none if it is not there."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - ten thousand folders, names only
    except OSError:
        return set()


def read_notes(folder: Path) -> dict[str, Any]:
    """Return `cell.json` of a folder; nothing if it holds no cell."""
    return _json(folder / "cell.json")


def _json(file: Path) -> dict[str, Any]:
    """Read what another runner may be replacing, or removing, at this moment: then it is nothing.

    Raises:
        UserError: If it is whole, and holds something else.
    """
    try:
        value = json_of(file.read_bytes())
    except (OSError, ValueError):
        return {}
    check_side(file, value)
    return value
