"""Cells on disk that the study would not make so today: their store or encoder has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..grid.cells import STAGES, Cell
from .ledger import Entry, names_in, read_notes
from .run_cell import encoder_mark

STORE = "its case store has changed"


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
    recipes = {entry.cell.recipe: entry.cell for entry in entries if entry.cell.recipe}
    found = []
    for stage in STAGES:
        for name in sorted(names_in(out / stage)):
            folder = out / stage / name
            if folder in known or name.startswith("."):
                continue
            about = read_notes(folder)
            if not about:
                continue
            why = _changed(about, recipes.get(about.get("recipe", "")))
            levels = " > ".join(map(str, about.get("levels", {}).values()))
            found.append(Stale(folder, levels or name, why))
    return found


def _changed(about: Mapping[str, Any], today: Cell | None) -> str:
    """Return what has changed since a cell ran; `today` is the cell of the same recipe."""
    if today is None:
        return "the study has no such cell any more"
    before = about.get("sources", {})
    other = [key for key, mark in today.sources.items() if before.get(key) != mark]
    return f"the source of its {' and '.join(other)} has changed" if other else STORE
