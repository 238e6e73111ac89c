"""Rows of numbers with intervals as HTML: they wrap on a phone, and a screen reader reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from hilum.evaluation.charts.svg import ticks

Place = Callable[[float], float]
"""From a value to per cent of the width."""

STYLE = """
.strips{margin:1rem 0;font-size:.9rem}
.strip{display:grid;grid-template-columns:minmax(8rem,24rem) minmax(9rem,1fr) 12rem;gap:.1rem .8rem;
align-items:center;padding:.15rem 0}
.strip .number{text-align:right;font-variant-numeric:tabular-nums}
.strip small,.axis{color:var(--soft)}
.track{position:relative;height:1.1rem;
background:linear-gradient(var(--line),var(--line)) center/100% 1px no-repeat}
.track i{position:absolute;display:block;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.track .bar{left:0;top:.15rem;bottom:.15rem;background:var(--bar);border-radius:0 2px 2px 0}
.track .span{top:calc(50% - 1.5px);height:3px;background:var(--mark)}
.track .dot{top:calc(50% - 5px);width:10px;height:10px;margin-left:-5px;border-radius:50%;
background:var(--mark);border:2px solid var(--mark)}
.track .open{background:var(--ground)}
.track .zero{top:-.15rem;bottom:-.15rem;width:1px;background:var(--ink)}
.axis .track{background:none;height:1.3rem}
.axis .tick{position:absolute;transform:translateX(-50%);font-size:.8rem}
.axis .unit{text-align:right;font-size:.8rem}
@media(max-width:44rem){.strip{grid-template-columns:minmax(0,1fr) 10.8rem;
padding:.35rem 0;border-bottom:1px solid var(--line)}
.strip .name{grid-column:1/-1}.axis{border:0}.axis .name{display:none}}
"""


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


def bars(rows: Sequence[Strip], label: str, digits: int = 3) -> str:
    """Return bars from zero with their intervals."""
    top = max((_known(row.high, row.value) for row in rows), default=1.0) or 1.0
    return _strips(rows, label, 0.0, top, digits, signed=False)


def forest(rows: Sequence[Strip], label: str, digits: int = 3) -> str:
    """Return differences as dots with intervals, around a line at zero."""
    ends = [_known(x, row.value) for row in rows for x in (row.low, row.high, row.value)]
    reach = max((abs(x) for x in ends if math.isfinite(x)), default=1.0) or 1.0
    return _strips(rows, label, -reach, reach, digits, signed=True)


def _strips(
    rows: Sequence[Strip], label: str, low: float, high: float, digits: int, *, signed: bool
) -> str:
    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    body = "".join(_row(row, place, digits, signed=signed) for row in rows)
    marks = "".join(
        f'<span class="tick" style="left:{place(tick):.2f}%">{tick:g}</span>'
        for tick in ticks(low, high)
    )
    axis = (
        '<div class="strip axis" aria-hidden="true"><span class="name"></span>'
        f'<span class="track">{marks}</span><span class="unit">{escape(label)}</span></div>'
    )
    return f'<div class="strips" role="list" aria-label="{escape(label)}">{body}{axis}</div>'


def _row(row: Strip, place: Place, digits: int, *, signed: bool) -> str:
    form = f"{'+' if signed else ''}.{digits}f"
    known = math.isfinite(row.low) and math.isfinite(row.high)
    marks = f'<i class="zero" style="left:{place(0):.2f}%"></i>' if signed else ""
    if math.isfinite(row.value) and not signed:
        marks += f'<i class="bar" style="width:{place(row.value):.2f}%"></i>'
    if known:
        left, right = place(row.low), place(row.high)
        marks += f'<i class="span" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
    if math.isfinite(row.value) and signed:
        kind = "dot" if row.firm else "dot open"
        marks += f'<i class="{kind}" style="left:{place(row.value):.2f}%"></i>'
    number = f"{row.value:{form}}" if math.isfinite(row.value) else "–"
    number += f" <small>[{row.low:{form}}, {row.high:{form}}]</small>" if known else ""
    return (
        f'<div class="strip" role="listitem"><span class="name">{escape(row.name)}</span>'
        f'<span class="track" aria-hidden="true">{marks}</span>'
        f'<span class="number">{number}</span></div>'
    )


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
