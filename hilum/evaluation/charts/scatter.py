"""A scatter chart of numbers with intervals, such as what methods cost and what they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from .svg import COLOURS, WIDTH, finite, frame, stroke, ticks, words

Spot = tuple[str, float, float, float, float]
"""Name, x (above 0), y, and the ends of the interval of y."""


FEW = 8
"""Up to so many points are all numbered."""


def scatter(
    spots: Sequence[Spot], x_label: str, y_label: str, *, higher_is_better: bool = True
) -> Markup:
    """Draw points over a logarithmic x axis, numbered as the rows of the table next to it.

    Of many points only those have a number that no other beats in both x and y: others would
    overlap, and nobody would choose them.
    """
    known = [
        (number, spot)
        for number, spot in enumerate(spots, 1)
        if math.isfinite(spot[2]) and math.isfinite(spot[1]) and spot[1] > 0
    ]
    if not known:
        return Markup()
    front = _front([s for _, s in known], higher_is_better)
    height, left, bottom = 340, 52, 44
    x0, x1 = min(s[1] for _, s in known), max(s[1] for _, s in known)
    y0 = min(finite(s[3], s[2]) for _, s in known)
    y1 = max(finite(s[4], s[2]) for _, s in known)
    y1 = y1 if y1 > y0 else y0 + 1
    span = math.log(x1 / x0)

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / x0) / span if span else 0.5
        return (
            left + 30 + across * (WIDTH - left - 80),
            12 + (1 - (y - y0) / (y1 - y0)) * (height - bottom - 12),
        )

    parts = []
    for tick in ticks(y0, y1):
        _, y = place(x0, tick)
        parts += [
            stroke(left, y, WIDTH - 10, y, "grid"),
            words(left - 6, y + 4, f"{tick:g}", "end"),
        ]
    for x in _decades(x0, x1):
        parts.append(words(place(x, y0)[0], height - bottom + 18, f"{x:.3g}", "middle"))
    parts.append(words((left + WIDTH) / 2, height - 6, x_label, "middle"))
    for number, (_, x, y, low, high) in known:
        across, down = place(x, y)
        if math.isfinite(low) and math.isfinite(high):
            parts.append(
                f'<line x1="{across:.1f}" y1="{place(x, low)[1]:.1f}" x2="{across:.1f}" '
                f'y2="{place(x, high)[1]:.1f}" stroke="{COLOURS[0]}" opacity="0.45"/>'
            )
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4.5" fill="{COLOURS[0]}"/>')
        if len(known) <= FEW or (x, y) in front:
            parts.append(words(across + 7, down - 5, str(number), "start"))
    return frame(height, f"{y_label} over {x_label}", parts)


def _front(spots: Sequence[Spot], higher_is_better: bool) -> set[tuple[float, float]]:
    """Return the points for which nothing is both cheaper and better."""
    sign = 1 if higher_is_better else -1
    found, best = set(), -math.inf
    for _, x, y, _, _ in sorted(spots, key=lambda spot: (spot[1], -sign * spot[2])):
        if sign * y > best:
            best = sign * y
            found.add((x, y))
    return found


def _decades(low: float, high: float) -> list[float]:
    """Return up to six numbers from the lowest to the highest, in equal ratios."""
    if high <= low:
        return [low]
    count = min(6, max(2, round(math.log(high / low) / math.log(1.5)) + 1))
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]
