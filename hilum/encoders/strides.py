"""Strides per axis: one number or three, and their running product."""

from __future__ import annotations

from collections.abc import Sequence

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple


def triple(step: int | Sequence[int]) -> IntTriple:
    """Return one number per axis.

    Examples:
        >>> triple(2), triple([1, 2, 2])
        ((2, 2, 2), (1, 2, 2))
    """
    sides = (step, step, step) if isinstance(step, int) else tuple(step)
    if len(sides) != 3:
        raise SettingsError(
            "a stride must be a number or one per axis", found=step, remedy="as in 2, or [1,2,2]"
        )
    return sides[0], sides[1], sides[2]


def cumulative(steps: Sequence[IntTriple]) -> tuple[IntTriple, ...]:
    """Return the product of all steps up to each one.

    Examples:
        >>> cumulative([(1, 1, 1), (1, 2, 2), (2, 2, 2)])
        ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    """
    total, found = (1, 1, 1), []
    for step in steps:
        total = (total[0] * step[0], total[1] * step[1], total[2] * step[2])
        found.append(total)
    return tuple(found)
