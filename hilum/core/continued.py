"""A run that goes on under other settings: which may differ, and the record of what did.

A run may be longer than it began, or go on at another rate; then its weights, its optimiser and
its numbers stay, and `continued.json` says from which step on what was different. All other
settings make another run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import ConfigDict
from typing_extensions import TypedDict

from .errors import RunError
from .files import read_json, write_json
from .plain import check_shape

FILE = "continued.json"

LONGER = ("trainer.steps", "trainer.minutes", "trainer.patience")
"""Settings of the end of a run; they may grow."""

OTHER = ("trainer.learning_rate", "trainer.warmup", "trainer.schedule")
"""Settings of the steps that are left; they may be any."""

Changes = dict[str, tuple[Any, Any]]
"""Old and new value of each setting that differs."""


class Leg(TypedDict):
    """What a run went on with: from which step on, and every value before and after.

    `step` is empty until the first session that goes on has looked at its checkpoint.
    """

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # pyright: ignore[reportGeneralTypeIssues]
    step: Annotated[int, Ge(0)] | None
    was: dict[str, Any]
    now: dict[str, Any]


class _Legs(TypedDict):
    legs: list[Leg]


def check_continuation(path: Path, changes: Changes, ended_by: str | None) -> None:
    """Raise an error if a run cannot go on with these values.

    Args:
        path: Run folder.
        changes: What differs; keys of `LONGER` and `OTHER` alone.
        ended_by: What ended the run, if it is done: `steps`, `minutes` or `patience`.

    Raises:
        RunError: If the run would be shorter, or has no step left for what differs.
    """
    for key in ("trainer.steps", "trainer.minutes"):
        old, new = changes.get(key, (None, None))
        if old is not None and new is not None and new < old:
            raise RunError(
                f"a run may be made longer, not shorter: {key}",
                file=path,
                found=f"{old} when it began, now {new}",
                remedy="choose another output folder for a shorter run",
            )
    if ended_by is None or f"trainer.{ended_by}" in changes:
        return
    if ended_by == "patience" and "trainer.steps" in changes:
        return
    raise RunError(
        f"a run that is done goes on with more trainer.{ended_by} only",
        file=path,
        found=in_words(changes),
        remedy=f"enlarge trainer.{ended_by}, which ended it, or choose another output folder",
    )


def in_words(changes: Changes) -> str:
    """Return what differs, as in `trainer.steps was 10, now 20`."""
    return "; ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in changes.items())


def note_continuation(path: Path, changes: Changes) -> None:
    """Write down what differs from now on; a leg that has not begun is replaced."""
    legs = [leg for leg in legs_of(path) if leg["step"] is not None]
    leg = {
        "step": None,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "was": {key: old for key, (old, _) in changes.items()},
        "now": {key: new for key, (_, new) in changes.items()},
    }
    write_json(path / FILE, {"legs": [*legs, leg]})


def legs_of(path: Path) -> list[Leg]:
    """Return what a run went on with, in order; nothing for one that never did.

    Raises:
        RunError: If the file is damaged.
    """
    file = path / FILE
    if not file.exists():
        return []
    about = read_json(file)
    remedy = "begin a new run"
    check_shape(about, _Legs, file=file, what="continued.json", remedy=remedy, error=RunError)
    return about["legs"]


def begin_leg(path: Path, step: int, settings: Mapping[str, Any]) -> Leg | None:
    """Return the leg that a run is in, and write down where it began if nobody has.

    Args:
        path: Run folder.
        step: Of the checkpoint that the run goes on from; 0 without one.
        settings: Values of the settings that may differ, as the run has them now.

    Returns:
        `None` in a run that never went on with other values, or had not trained by then.
    """
    # A command that was killed while it claimed the folder has written a leg that nobody runs.
    legs = [leg for leg in legs_of(path) if leg["step"] is not None or _holds(leg, settings)]
    if not legs:
        return None
    if legs[-1]["step"] is None:
        if step:
            legs[-1]["step"] = step
        else:
            legs.pop()
        write_json(path / FILE, {"legs": legs})
    return legs[-1] if legs else None


def _holds(leg: Leg, settings: Mapping[str, Any]) -> bool:
    return all(settings.get(key) == value for key, value in leg["now"].items())
