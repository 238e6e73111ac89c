"""What each factor of a grid does on average, and whether two factors depend on each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .comparison import holm
from .moderation import StudyVariances, study_variances
from .random_effects import Estimate, estimate

Levels = tuple[str, ...]
"""One level of each factor, in the order of the factors."""

Contrast = dict[Levels, int]
"""Weights of cells that add up to zero."""


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

    def clipped(self, reach: float) -> Effect:
        """Return the same with no end of its interval beyond what the effect can be."""
        return replace(self, estimate=self.estimate.clipped(reach))


def main_effects(
    grid: Mapping[Levels, np.ndarray], factors: Sequence[str], reference: Sequence[str]
) -> list[Effect]:
    """Return what each level does against the reference's level, the other factors as they are.

    A level is compared in every combination of the other factors that has both it and the
    reference, so holes in the grid do not mix one factor's effect into another's. The contrast is
    formed patient by patient and seed by seed, and then judged as two-way random effects, whose
    variances are moderated by those of all cells.

    Args:
        grid: `[patients, seeds]` of each cell, the same patients and seeds in all; NaN for none.
        factors: Name of each factor.
        reference: Reference level of each factor.
    """
    found: list[tuple[str, list[Contrast]]] = []
    for axis, factor in enumerate(factors):
        for level in dict.fromkeys(key[axis] for key in grid):
            contrasts: list[Contrast] = [
                {key: 1, _swap(key, axis, reference[axis]): -1}
                for key in grid
                if key[axis] == level != reference[axis]
                and _swap(key, axis, reference[axis]) in grid
            ]
            if contrasts:
                found.append((f"{factor}: {level}", contrasts))
    return _judge(grid, found)


def interactions(
    grid: Mapping[Levels, np.ndarray], factors: Sequence[str], reference: Sequence[str]
) -> list[Effect]:
    """Return by how much a level does more (or less) when another factor is changed, too.

    For levels a and b of two factors: (ab - a) - (b - reference), averaged over what the others
    are. Zero means that the two gains add up.
    """
    found: list[tuple[str, list[Contrast]]] = []
    for one, two in itertools.combinations(range(len(factors)), 2):
        pairs = dict.fromkeys((key[one], key[two]) for key in grid)
        for a, b in pairs:
            if a == reference[one] or b == reference[two]:
                continue
            contrasts: list[Contrast] = []
            for key in grid:
                if (key[one], key[two]) != (a, b):
                    continue
                no_b = _swap(key, two, reference[two])
                no_a = _swap(key, one, reference[one])
                neither = _swap(no_a, two, reference[two])
                if {no_a, no_b, neither} <= grid.keys():
                    contrasts.append({key: 1, no_b: -1, no_a: -1, neither: 1})
            if contrasts:
                found.append((f"{factors[one]}: {a} x {factors[two]}: {b}", contrasts))
    return _judge(grid, found)


def _swap(key: Levels, axis: int, level: str) -> Levels:
    return (*key[:axis], level, *key[axis + 1 :])


def _judge(
    grid: Mapping[Levels, np.ndarray], found: Sequence[tuple[str, Sequence[Contrast]]]
) -> list[Effect]:
    if not found:
        return []
    study = study_variances(np.stack(list(grid.values())))
    estimates = [_estimate(grid, contrasts, study) for _, contrasts in found]
    adjusted = holm([one.p_value for one in estimates])
    return [
        Effect(name, len(contrasts), one, p)
        for (name, contrasts), one, p in zip(found, estimates, adjusted, strict=True)
    ]


def _estimate(
    grid: Mapping[Levels, np.ndarray],
    contrasts: Sequence[Contrast],
    study: StudyVariances | None,
) -> Estimate:
    """Judge the mean of contrasts; a cell that several of them share has a larger weight."""
    weights: dict[Levels, float] = {}
    for contrast in contrasts:
        for key, weight in contrast.items():
            weights[key] = weights.get(key, 0.0) + weight / len(contrasts)
    table = np.sum([weight * grid[key] for key, weight in weights.items()], axis=0)
    return estimate(table, study, sum(weight**2 for weight in weights.values()))
