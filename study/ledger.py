"""What has become of each cell, read from the folders alone: no daemon, no database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.files import read_json
from .cells import Cell

STATES = ("done", "running", "interrupted", "failed", "waiting", "new")


@dataclass(frozen=True)
class Entry:
    """State of one cell, and what its status file says."""

    cell: Cell
    state: str
    status: dict[str, Any]


def read(cells: Sequence[Cell]) -> list[Entry]:
    """Return the state of every cell; `waiting` means that its pretraining run is not done."""
    entries, done = [], set()
    for cell in cells:
        file = cell.folder / "status.json"
        status = read_json(file) if file.exists() else {}
        if (cell.folder / "DONE").exists():
            state = "done"
            done.add(cell.folder)
        elif status:
            running = status["state"] == "running" and (cell.folder / "lock").exists()
            state = "running" if running else status["state"].replace("running", "interrupted")
        else:
            state = "waiting" if cell.needs and cell.needs not in done else "new"
        entries.append(Entry(cell, state, status))
    return entries


def table(entries: Sequence[Entry]) -> list[str]:
    """Return one line per cell, then the counts."""
    width = max((len(entry.cell.name) for entry in entries), default=0)
    lines = []
    for entry in entries:
        step = entry.status.get("step")
        more = f"step {step} of {entry.status.get('steps')}" if entry.state == "running" else ""
        more = str(entry.status.get("message", "")) if entry.state == "failed" else more
        lines.append(
            f"{entry.state:<12}{entry.cell.stage:<9}{entry.cell.name:<{width}}  {more}".rstrip()
        )
    return [*lines, summary(entries)]


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
