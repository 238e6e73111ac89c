"""Counts in words: `1 patient`, `2 patients`."""

from __future__ import annotations


def many(count: int, what: str) -> str:
    """Return a count with what is counted, in the plural unless it is one.

    Examples:
        >>> many(1, "seed"), many(0, "seed")
        ('1 seed', '0 seeds')
    """
    return f"{count} {what}" + ("" if count == 1 else "s")
