"""Runs that learned from labels, or were judged by labels, that are not the labels any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.core.side_files import read_side

DEEPEST = 4
"""How many folders down runs are searched for."""
PARTS = {"train": "trained on", "validation": "was chosen by", "test": "was tested on"}


@dataclass(frozen=True)
class Stale:
    """A run that depended on labels that have changed.

    Attributes:
        folder: Of the run.
        why: Which cases, and what the run did with them.
        running: Whether it trains right now, on whatever labels it has read.
    """

    folder: Path
    why: str
    running: bool


def stale(places: Sequence[str | Path], cases: Collection[str]) -> list[Stale]:
    """Return the runs below some folders whose split has one of the cases with its label.

    Args:
        places: Run folders, studies, or folders of them.
        cases: Whose label is another one than before.
    """
    found = []
    for file in sorted({file for place in places for file in _splits(Path(place), DEEPEST)}):
        split = read_side(file)
        parts = {
            words: [name for name in split.get(part, ()) if name in cases]
            for part, words in PARTS.items()
        }
        told = [f"{words} {', '.join(own)}" for words, own in parts.items() if own]
        if told:
            state = file.parent / "status.json"
            running = state.is_file() and read_side(state).get("state") == "running"
            found.append(Stale(file.parent, "; ".join(told), running))
    return found


def lines(found: Sequence[Stale]) -> list[str]:
    """Return a line per run, for a terminal."""
    return [
        f"stale: {one.folder} {one.why} as labelled before"
        + ("; it is running: stop it and begin again in a new folder" if one.running else "")
        for one in found
    ]


def _splits(place: Path, deep: int) -> Iterator[Path]:
    if not place.is_dir():
        return
    if (place / "split.json").is_file():
        yield place / "split.json"
    for path in place.iterdir():
        if deep and path.is_dir() and not path.name.startswith("."):
            yield from _splits(path, deep - 1)
