"""What a study sets and does nothing: in any cell, or in cells whose own levels set it."""

from __future__ import annotations

from collections.abc import Sequence

from hilum.core.settings import flat
from hilum.core.unused import Idle

from ..settings import StudySettings
from .arms import repeating
from .cells import STAGES, Cell

Found = Sequence[tuple[Cell, list[Idle]]]
"""What does nothing in each cell."""


def idle_lines(study: StudySettings, found: Found) -> list[str]:
    """Return a line for each reason, with the cells where it holds.

    What all cells share does nothing in some of them as a matter of course: a network's settings
    in an arm that is a rule. It is named where it does nothing in any cell of its stage, and what
    a level of a factor sets in each cell where it does nothing there. Factors that only repeat
    arms are left out.
    """
    nowhere = {
        stage: _in_all([idle for cell, idle in found if cell.stage == stage]) for stage in STAGES
    }
    repeats, where = repeating(study), dict[str, list[Cell]]()
    for cell, idle in found:
        own = _of_levels(study, cell, repeats)
        for one in idle:
            kept = tuple(n for n in one.names if n in nowhere[cell.stage] or _among(n, own))
            if kept or not one.names:
                where.setdefault(str(Idle(kept, one.why)), []).append(cell)
    return [f"note: {_place(cells, len(found))}{line}" for line, cells in where.items()]


def _in_all(found: Sequence[Sequence[Idle]]) -> set[str]:
    names = [{name for one in idle for name in one.names} for idle in found]
    return set.intersection(*names) if names else set()


def _of_levels(study: StudySettings, cell: Cell, repeats: set[str]) -> list[str]:
    """Return the settings of its stage that the levels of a cell set."""
    keys = [
        key
        for name, level in cell.levels.items()
        if name not in repeats
        for key, _ in flat(study.level(name, level))
    ]
    own = [(key.removeprefix("pretrain."), key.startswith("pretrain.")) for key in keys]
    return [key for key, of_pretraining in own if of_pretraining == (cell.stage == "pretrain")]


def _among(name: str, keys: Sequence[str]) -> bool:
    """Return whether a setting, its group, or something in it is among some."""
    return any(f"{name}.".startswith(f"{k}.") or f"{k}.".startswith(f"{name}.") for k in keys)


def _place(cells: Sequence[Cell], number: int) -> str:
    if len(cells) == number:
        return ""
    return f"{cells[0].name}: " if len(cells) == 1 else f"{len(cells)} cells, as {cells[0].name}: "
