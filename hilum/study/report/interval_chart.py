"""Rows of numbers with intervals as HTML: they wrap on a phone, and a screen reader reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from hilum.evaluation.charts.svg import ticks
from hilum.evaluation.html.parts import interval
from hilum.evaluation.html.rendering import render

Place = Callable[[float], float]
"""From a value to per cent of the width."""


class Strip(NamedTuple):
    """One row: a value with its interval.

    Attributes:
        name: Of the row.
        value: The number.
        low: Lower end of its interval; NaN for none.
        high: Upper end.
        firm: Whether it is supported; else its dot is open.
    """

    name: str
    value: float
    low: float
    high: float
    firm: bool = True


def bars(rows: Sequence[Strip], label: str, digits: int = 3) -> Markup:
    """Return bars from zero with their intervals."""
    top = max((_known(row.high, row.value) for row in rows), default=1.0) or 1.0
    return _strips(rows, label, 0.0, top, digits, signed=False)


def forest(rows: Sequence[Strip], label: str, digits: int = 3) -> Markup:
    """Return differences as dots with intervals, around a line at zero."""
    ends = [_known(x, row.value) for row in rows for x in (row.low, row.high, row.value)]
    reach = max((abs(x) for x in ends if math.isfinite(x)), default=1.0) or 1.0
    return _strips(rows, label, -reach, reach, digits, signed=True)


def _strips(
    rows: Sequence[Strip], label: str, low: float, high: float, digits: int, *, signed: bool
) -> Markup:
    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    return render(
        "study/report/interval_chart.html.j2",
        label=label,
        rows=[
            (row.name, _marks(row, place, signed=signed), _number(row, digits, signed=signed))
            for row in rows
        ],
        ticks=[(f"{place(tick):.2f}", f"{tick:g}") for tick in ticks(low, high)],
    )


def _marks(row: Strip, place: Place, *, signed: bool) -> list[tuple[str, str]]:
    """Return the class and the style of each mark of a row."""
    marks = [("zero", f"left:{place(0):.2f}%")] if signed else []
    known = math.isfinite(row.value)
    if known and not signed:
        marks.append(("bar", f"width:{place(row.value):.2f}%"))
    if _has_interval(row):
        left, right = place(row.low), place(row.high)
        marks.append(("span", f"left:{left:.2f}%;width:{right - left:.2f}%"))
    if known and signed:
        marks.append(("dot" if row.firm else "dot open", f"left:{place(row.value):.2f}%"))
    return marks


def _number(row: Strip, digits: int, *, signed: bool) -> str:
    value = row.value if math.isfinite(row.value) else math.nan
    low = row.low if _has_interval(row) else math.nan
    return interval(value, low, row.high, digits, sign=signed)


def _has_interval(row: Strip) -> bool:
    return math.isfinite(row.low) and math.isfinite(row.high)


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
