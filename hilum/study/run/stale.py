"""Cells on disk that the study would not make so today: their store or encoder has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..grid.cells import STAGES
from .ledger import Entry, names_in, read_notes
from .run_cell import encoder_mark


@dataclass(frozen=True)
class Stale:
    """A folder whose result is not this study's any more.

    Attributes:
        folder: Folder of the cell; nothing removes it.
        name: Levels that it had.
        why: What has changed.
    """

    folder: Path
    name: str
    why: str


def stale(entries: Sequence[Entry], out: Path) -> list[Stale]:
    """Return the stale cells of a study's folder; `entries` are those that it has today."""
    marks: dict[Path, dict[str, Any]] = {}
    found = []
    for entry in entries:
        used, needs = entry.about.get("encoder"), entry.cell.needs
        if entry.state != "done" or not used or needs is None:
            continue
        if needs not in marks:
            marks[needs] = encoder_mark(needs)
        if marks[needs] and marks[needs]["hash"] != used["hash"]:
            found.append(Stale(entry.cell.folder, entry.cell.name, "its encoder has changed"))
    return [*found, *_strangers(entries, out)]


def lines(found: Sequence[Stale], most: int = 10) -> list[str]:
    """Return a line per stale cell, of many only the first, and what to do."""
    if not found:
        return []
    shown = [f"stale       {one.name}: {one.why} ({one.folder})" for one in found[:most]]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return [*shown, *more, "stale cells count for nothing here; a removed folder runs again"]


def _strangers(entries: Sequence[Entry], out: Path) -> list[Stale]:
    """Return folders that no combination has; those of the same recipe had another store."""
    known = {entry.cell.folder for entry in entries}
    recipes = {entry.cell.recipe for entry in entries if entry.cell.recipe}
    found = []
    for stage in STAGES:
        for name in sorted(names_in(out / stage)):
            folder = out / stage / name
            if folder in known or name.startswith("."):
                continue
            about = read_notes(folder)
            if not about:
                continue
            again = about.get("recipe") in recipes
            why = "its case store has changed" if again else "the study has no such cell any more"
            levels = " > ".join(map(str, about.get("levels", {}).values()))
            found.append(Stale(folder, levels or name, why))
    return found
