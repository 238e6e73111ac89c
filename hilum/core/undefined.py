"""Values some of which are undefined: their order, and how a reader sees them."""

from __future__ import annotations

import math

DASH = "–"
"""What stands where there is no number."""


def undefined_last(value: float) -> tuple[bool, float]:
    """Return a key to sort by: NaN comes last, where by itself it leaves others out of order.

    Examples:
        >>> sorted([0.5, math.nan, 0.1], key=undefined_last)
        [0.1, 0.5, nan]
    """
    return math.isnan(value), 0.0 if math.isnan(value) else value


def number(value: float, form: str = ".3f") -> str:
    """Return a number as text; a dash where there is none: a reader knows no `nan`.

    Examples:
        >>> number(0.25), number(math.nan), number(0.25, "+.1f")
        ('0.250', '–', '+0.2')
    """
    return f"{value:{form}}" if math.isfinite(value) else DASH


def with_interval(value: float, low: float, high: float, form: str = ".3f") -> str:
    """Return a number with its interval in brackets, as far as there are any.

    Examples:
        >>> with_interval(0.5, 0.4, 0.6), with_interval(0.5, math.nan, math.nan)
        ('0.500 [0.400, 0.600]', '0.500')
    """
    text = number(value, form)
    if not math.isfinite(value) or math.isnan(low):
        return text
    return f"{text} [{low:{form}}, {high:{form}}]"
