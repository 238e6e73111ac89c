"""What each round of labelling brought."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hilum.evaluation.statistics.intervals import interval

from ..taking.versions import Version


@dataclass(frozen=True)
class Round:
    """Labels of one round, the newest of each case and rater.

    Attributes:
        number: Of the round.
        cases: That got a label.
        raters: Who drew.
        added: Nodes that were drawn again.
        removed: Proposals that were deleted.
        redrawn: Proposals that were changed.
        kept: Proposals that were right.
        dice: Mean Dice of the proposals with the labels, over cases.
        low: Lower end of its 95 % interval; NaN with one case.
        high: Upper end.
    """

    number: int
    cases: int
    raters: tuple[str, ...]
    added: int
    removed: int
    redrawn: int
    kept: int
    dice: float
    low: float
    high: float


def rounds_of(versions: Iterable[Version]) -> list[Round]:
    """Return every round, the first first."""
    newest: dict[tuple[int, str, str], Version] = {}
    for one in versions:
        key = one.round, one.case, one.rater
        if key not in newest or newest[key].number < one.number:
            newest[key] = one
    found = []
    for number in sorted({key[0] for key in newest}):
        own = [one for key, one in sorted(newest.items()) if key[0] == number]
        dice: dict[str, list[float]] = {}
        for one in own:
            dice.setdefault(one.case, []).append(float(one.changes["dice"]))
        table = np.array([[np.mean(values)] for values in dice.values()])
        mean = float(table.mean())
        low, high = interval(mean, table, (0, 1))
        counts = {
            name: sum(int(one.changes[name]) for one in own)
            for name in ("added", "removed", "redrawn", "kept")
        }
        raters = tuple(sorted({one.rater for one in own}))
        found.append(Round(number, len(dice), raters, **counts, dice=mean, low=low, high=high))
    return found
