"""Order values some of which are undefined."""

from __future__ import annotations

import math


def undefined_last(value: float) -> tuple[bool, float]:
    """Return a key to sort by: NaN comes last, where by itself it leaves others out of order.

    Examples:
        >>> sorted([0.5, math.nan, 0.1], key=undefined_last)
        [0.1, 0.5, nan]
    """
    return math.isnan(value), 0.0 if math.isnan(value) else value
