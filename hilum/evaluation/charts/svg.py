"""Small charts as SVG: they scale, print, and take their colours from the page around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

WIDTH = 860
ROW = 26
LEFT = 440
LETTER = 6.6
"""Width of a letter on average, as generous as fonts differ."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c46a9b", "#8a6d00", "#4a94c9", "#7f5fc0", "#5f6b76")
"""Okabe and Ito, darkened where they would not stand out on white (3 to 1, and so on dark)."""

Bar = tuple[str, float, float, float]
"""Name, value, lower and upper end of its interval."""


def bars(rows: Sequence[Bar], label: str) -> Markup:
    """Draw one horizontal bar per row with its interval."""
    high = max((finite(upper, value) for _, value, _, upper in rows), default=1.0)
    return _rows(rows, label, 0.0, high, from_zero=True)


def forest(rows: Sequence[Bar], label: str) -> Markup:
    """Draw differences as points with intervals around a line at zero."""
    ends = [finite(x, value) for _, value, low, up in rows for x in (low, up, value)] or [1.0]
    reach = max(abs(x) for x in ends) or 1.0
    return _rows(rows, label, -reach, reach, from_zero=False)


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]], x_label: str, y_label: str
) -> Markup:
    """Draw curves with a legend below."""
    height, bottom, left = 260, 34, 52
    points = [p for _, curve in series for p in curve if math.isfinite(p[1])]
    if not points:
        return Markup()
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x0) / (x1 - x0) * (WIDTH - left - 26),
            10 + (1 - (y - y0) / (y1 - y0)) * (height - bottom - 10),
        )

    parts = []
    for tick in ticks(y0, y1):
        _, y = place(x0, tick)
        parts.append(
            stroke(left, y, WIDTH - 10, y, "grid") + words(left - 6, y + 4, f"{tick:g}", "end")
        )
    for tick in ticks(x0, x1):
        x, _ = place(tick, y0)
        parts.append(words(x, height - bottom + 16, f"{tick:g}", "middle"))
    parts.append(words((left + WIDTH) / 2, height - 2, x_label, "middle"))
    for number, (_, curve) in enumerate(series):
        path = " ".join(
            f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in curve if math.isfinite(p[1]))
        )
        colour, dash = _style(number)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" {dash}/>'
        )
    legend, count = _legend([name for name, _ in series], height)
    return frame(height + 18 * count + 8, f"{y_label} over {x_label}", [*parts, *legend])


def intervals(
    series: Sequence[tuple[str, Sequence[tuple[float, float, float, float]]]],
    x_label: str,
    y_label: str,
) -> Markup:
    """Draw curves of points with intervals over a logarithmic x axis, with a legend below.

    If one lies at 0, the axis is logarithmic in x + 1.

    Args:
        series: Name and points (x of 0 or more, value, lower and upper end) of each curve.
        x_label: Below the axis.
        y_label: Title.
    """
    height, bottom, left = 280, 40, 52
    points = [p for _, curve in series for p in curve if math.isfinite(p[1])]
    if not points:
        return Markup()
    xs = sorted({p[0] for p in points})
    y0 = min(finite(p[2], p[1]) for p in points)
    y1 = max(finite(p[3], p[1]) for p in points)
    y1 = y1 if y1 > y0 else y0 + 1
    more = 0 if xs[0] > 0 else 1
    span = math.log((xs[-1] + more) / (xs[0] + more)) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log((x + more) / (xs[0] + more)) / span if len(xs) > 1 else 0.5
        return (
            left + 30 + across * (WIDTH - left - 70),
            10 + (1 - (y - y0) / (y1 - y0)) * (height - bottom - 10),
        )

    parts = []
    for tick in ticks(y0, y1):
        _, y = place(xs[0], tick)
        parts.append(stroke(left, y, WIDTH - 10, y, "grid"))
        parts.append(words(left - 6, y + 4, f"{tick:g}", "end"))
    parts += [words(place(x, y0)[0], height - bottom + 16, f"{x:g}", "middle") for x in xs]
    parts.append(words((left + WIDTH) / 2, height - 4, x_label, "middle"))
    for number, (_, curve) in enumerate(series):
        colour, dash = _style(number)
        aside = (number - (len(series) - 1) / 2) * 7  # so that intervals do not hide each other
        known = sorted(p for p in curve if math.isfinite(p[1]))
        spots = [(place(x, y)[0] + aside, place(x, y)[1]) for x, y, _, _ in known]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" {dash}/>'
        )
        for (x, _, low, high), (across, y) in zip(known, spots, strict=True):
            parts.append(f'<circle cx="{across:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            if math.isfinite(low) and math.isfinite(high):
                top, end = place(x, high)[1], place(x, low)[1]
                parts.append(
                    f'<line x1="{across:.1f}" y1="{top:.1f}" x2="{across:.1f}" y2="{end:.1f}" '
                    f'stroke="{colour}" stroke-width="1.4"/>'
                )
    legend, rows = _legend([name for name, _ in series], height)
    return frame(height + 18 * rows + 8, f"{y_label} over {x_label}", [*parts, *legend])


def scatter(
    points: Sequence[tuple[float, float]],
    levels: Sequence[tuple[str, float]],
    x_label: str,
    y_label: str,
) -> Markup:
    """Draw points and named horizontal lines, as of a Bland-Altman plot."""
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not known:
        return Markup()
    height, bottom, left, right = 260, 34, 62, 110
    flat = [(name, y) for name, y in levels if math.isfinite(y)]
    x0, x1 = min(x for x, _ in known), max(x for x, _ in known)
    heights = [y for _, y in known] + [y for _, y in flat] + [0.0]
    y0, y1 = min(heights), max(heights)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x0) / (x1 - x0) * (WIDTH - left - right - 10),
            10 + (1 - (y - y0) / (y1 - y0)) * (height - bottom - 20),
        )

    parts = [words(left - 6, place(x0, y)[1] + 4, f"{y:g}", "end") for y in ticks(y0, y1)]
    parts += [
        words(place(x, y0)[0], height - bottom + 12, f"{x:g}", "middle") for x in ticks(x0, x1)
    ]
    parts.append(words((left + WIDTH - right) / 2, height - 4, x_label, "middle"))
    for name, value in flat:
        y = place(x0, value)[1]
        parts.append(stroke(left, y, WIDTH - right, y, "mark"))
        parts.append(words(WIDTH - right + 6, y + 4, name, "start"))
    for x, y in known:
        across, down = place(x, y)
        parts.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{COLOURS[0]}" opacity=".75"/>'
        )
    return frame(height, f"{y_label} over {x_label}", parts)


def _legend(names: Sequence[str], below: float) -> tuple[list[str], int]:
    """Return the legend in two columns, and its rows."""
    parts = []
    for number, name in enumerate(names):
        x, y = 10 + (number % 2) * WIDTH / 2, below + 16 + (number // 2) * 18
        colour, dash = _style(number)
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" stroke="{colour}" '
            f'stroke-width="2.5" {dash}/>' + words(x + 28, y, name, "start")
        )
    return parts, -(-len(names) // 2)


def _rows(rows: Sequence[Bar], label: str, low: float, high: float, *, from_zero: bool) -> Markup:
    height = ROW * len(rows) + 40
    span = (high - low) or 1.0

    def place(x: float) -> float:
        return LEFT + (min(max(x, low), high) - low) / span * (WIDTH - LEFT - 70)

    parts = []
    for tick in ticks(low, high):
        x = place(tick)
        parts.append(
            stroke(x, 4, x, height - 34, "grid") + words(x, height - 20, f"{tick:g}", "middle")
        )
    for number, (name, value, lower, upper) in enumerate(rows):
        y = 14 + number * ROW
        parts += _name(name, y)
        if not math.isfinite(value):
            continue
        if from_zero:
            width = max(place(value) - LEFT, 0)
            parts.append(
                f'<rect x="{LEFT}" y="{y - 7}" width="{width:.1f}" height="14" rx="2" '
                f'fill="{COLOURS[0]}" opacity="0.55"/>'
            )
        else:
            parts.append(f'<circle cx="{place(value):.1f}" cy="{y}" r="4.5" fill="{COLOURS[0]}"/>')
        if math.isfinite(lower) and math.isfinite(upper):
            parts.append(stroke(place(lower), y, place(upper), y, "mark"))
        sign = "" if from_zero else "+"
        parts.append(words(WIDTH - 6, y + 5, f"{value:{sign}.3f}", "end"))
    if low < 0 < high:
        parts.append(stroke(place(0), 2, place(0), height - 34, "mark"))
    parts.append(words((LEFT + WIDTH - 70) / 2 + 30, height - 4, label, "middle"))
    return frame(height, label, parts)


def _name(name: str, y: float) -> list[str]:
    """Return a name left of its row, in two lines if it is too long for one."""
    if len(name) * LETTER <= LEFT - 14:
        return [words(LEFT - 10, y + 5, name, "end")]
    middle = name.find(" vs. ")
    if middle < 0:
        middle = name.rfind(" ", 0, len(name) // 2 + 1)
    halves = [name[:middle], name[middle:].strip()] if middle > 0 else [name]
    most = int((LEFT - 14) / LETTER)
    short = [half if len(half) <= most else half[: most - 1] + "…" for half in halves]
    places = [y - 1, y + 11] if len(short) == 2 else [y + 5]
    return [words(LEFT - 10, at, half, "end") for half, at in zip(short, places, strict=True)]


def frame(height: float, title: str, parts: Sequence[str]) -> Markup:
    """Return an SVG of the common width around its parts, which hold no raw text."""
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="system-ui,sans-serif" font-size="12.5">'
        "<style>.grid{stroke:currentColor;opacity:.15}.mark{stroke:currentColor;stroke-width:1.6}"
        f"text{{fill:currentColor}}</style><title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a line; its kind, `grid` or `mark`, has the look."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def words(x: float, y: float, text: str, anchor: str) -> str:
    """Return a text that starts, ends or is centred at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between two ends."""
    if high <= low:
        return [low]
    raw = (high - low) / 5
    base = 10 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _style(number: int) -> tuple[str, str]:
    """Return a colour, and a dash once the colours begin again."""
    dash = 'stroke-dasharray="5 3"' if (number // len(COLOURS)) % 2 else ""
    return COLOURS[number % len(COLOURS)], dash


def finite(value: float, otherwise: float) -> float:
    """Return a value, or another one if it is not finite."""
    return value if math.isfinite(value) else otherwise
