"""Which values a metric can have, so that no interval claims others."""

from __future__ import annotations

import math

from ..metrics.table import METRICS, is_nsd

SIGNED = ("_error", "_error_ml")
UNITS = ("_mm", "_ml")


def bounds(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value of a metric; infinite where there is none.

    Fractions, such as Dice, lie in 0 to 1; distances, volumes and counts have no upper end, and
    signed errors no end at all. A metric that is not hilum's may have any value.
    """
    if metric.endswith(SIGNED) or not (metric in METRICS.ours or is_nsd(metric)):
        return -math.inf, math.inf
    if metric.endswith(UNITS) or metric == "false_positives":
        return 0.0, math.inf
    return 0.0, 1.0


def reach(metric: str) -> float:
    """Return the largest difference that two values of a metric can have."""
    low, high = bounds(metric)
    return high - low
