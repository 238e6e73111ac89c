"""What each factor of a grid does on average, and whether two factors depend on each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .comparison import holm
from .random_effects import Estimate, estimate

Levels = tuple[str, ...]
"""One level of each factor, in the order of the factors."""


@dataclass(frozen=True)
class Effect:
    """A contrast of the grid.

    Attributes:
        name: Such as `fusion: late` or `pretext: mae x fusion: late`.
        cells: Pairs (main effect) or quadruples (interaction) of cells that it is averaged over.
        estimate: Mean, interval and p value over patients and seeds.
        p_adjusted: The p value after Holm's method, over the effects of one kind.
    """

    name: str
    cells: int
    estimate: Estimate
    p_adjusted: float


def main_effects(
    grid: Mapping[Levels, np.ndarray], factors: Sequence[str], reference: Sequence[str]
) -> list[Effect]:
    """Return what each level does against the reference's level, the other factors as they are.

    A level is compared in every combination of the other factors that has both it and the
    reference, so holes in the grid do not mix one factor's effect into another's. The contrast is
    formed patient by patient and seed by seed, and then judged as two-way random effects.

    Args:
        grid: `[patients, seeds]` of each cell, the same patients and seeds in all; NaN for none.
        factors: Name of each factor.
        reference: Reference level of each factor.
    """
    found = []
    for axis, factor in enumerate(factors):
        for level in dict.fromkeys(key[axis] for key in grid):
            contrasts = [
                table - grid[_swap(key, axis, reference[axis])]
                for key, table in grid.items()
                if key[axis] == level != reference[axis]
                and _swap(key, axis, reference[axis]) in grid
            ]
            if contrasts:
                found.append((f"{factor}: {level}", contrasts))
    return _judge(found)


def interactions(
    grid: Mapping[Levels, np.ndarray], factors: Sequence[str], reference: Sequence[str]
) -> list[Effect]:
    """Return by how much a level does more (or less) when another factor is changed, too.

    For levels a and b of two factors: (ab - a) - (b - reference), averaged over what the others
    are. Zero means that the two gains add up.
    """
    found = []
    for one, two in itertools.combinations(range(len(factors)), 2):
        pairs = dict.fromkeys((key[one], key[two]) for key in grid)
        for a, b in pairs:
            if a == reference[one] or b == reference[two]:
                continue
            contrasts = []
            for key, both in grid.items():
                if (key[one], key[two]) != (a, b):
                    continue
                no_b = _swap(key, two, reference[two])
                no_a = _swap(key, one, reference[one])
                neither = _swap(no_a, two, reference[two])
                if {no_a, no_b, neither} <= grid.keys():
                    contrasts.append(both - grid[no_b] - grid[no_a] + grid[neither])
            if contrasts:
                found.append((f"{factors[one]}: {a} x {factors[two]}: {b}", contrasts))
    return _judge(found)


def _swap(key: Levels, axis: int, level: str) -> Levels:
    return (*key[:axis], level, *key[axis + 1 :])


def _judge(found: Sequence[tuple[str, Sequence[np.ndarray]]]) -> list[Effect]:
    estimates = [estimate(np.mean(contrasts, axis=0)) for _, contrasts in found]
    adjusted = holm([one.p_value for one in estimates])
    return [
        Effect(name, len(contrasts), one, p)
        for (name, contrasts), one, p in zip(found, estimates, adjusted, strict=True)
    ]
