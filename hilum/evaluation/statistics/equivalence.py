"""Two one-sided tests: are two arms the same, to within a margin that one would not miss?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .moderation import StudyVariances
from .random_effects import estimate

LEVEL = 0.05
"""Of every test."""


@dataclass(frozen=True)
class Equivalence:
    """What two one-sided tests say.

    Attributes:
        difference: Mean difference.
        low: Lower end of its 90 % interval.
        high: Upper end.
        margin: Largest difference that does not matter.
        p_value: Of the hypothesis that the difference is at the margin or beyond.
        equivalent: Whether the interval lies inside the margin, as at a level of 5 %.
    """

    difference: float
    low: float
    high: float
    margin: float
    p_value: float
    equivalent: bool


def equivalence(
    table: np.ndarray, margin: float, study: StudyVariances | None = None
) -> Equivalence:
    """Test whether a mean difference lies inside a margin, for other patients and other seeds.

    A p value above 0.05 of a test for a difference is no sign of equality; this is the test for it.

    Source:
        Schuirmann, J Pharmacokinet Biopharm 1987, 15:657; standard error of
        `random_effects.estimate`.

    Args:
        table: Differences `[patients, seeds]`, NaN where there is none.
        margin: Largest difference that does not matter, such as 0.02 of Dice; above 0.
        study: What all arms of the study say of the variances.

    Raises:
        ValueError: If the margin is not above 0.
    """
    if margin <= 0:
        raise ValueError(f"a margin is above 0, got {margin}")
    found = estimate(table, study)
    low, high = found.interval(0.9)
    p = max(found.tail(-margin, above=True), found.tail(margin, above=False))
    p = p if p == p else 1.0
    return Equivalence(found.mean, low, high, margin, p, p < LEVEL)


def without_difference(p_value: float, equal: Equivalence | None) -> str:
    """Return the verdict on two arms of which neither is shown to be better.

    Args:
        p_value: Of the difference, not adjusted for other comparisons.
        equal: Equivalence within the margin, if that was tested.
    """
    if equal is not None and equal.equivalent:
        return f"equivalent (±{equal.margin:g})"
    return "inconclusive" + (f" (p < {LEVEL:g} before Holm)" if p_value < LEVEL else "")
