"""A map of points in groups: each group has a colour, a point that is named has its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from .svg import COLOURS, WIDTH, frame, words

Point = tuple[float, float, str]
"""x, y, and what a reader sees who points at it."""
HEIGHT, PAD = 420, 24


def groups(
    series: Mapping[str, Sequence[Point]], title: str, marked: Mapping[str, str] | None = None
) -> Markup:
    """Draw points without axes, as of a projection whose numbers mean nothing alone.

    Both axes have one scale, so that distances can be compared.

    Args:
        series: Points by group.
        title: What is drawn.
        marked: Text to write next to a point, by its name.
    """
    points = [point for own in series.values() for point in own]
    if not points:
        return Markup()
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    span = max((max(xs) - min(xs)) / (WIDTH - 2 * PAD), (max(ys) - min(ys)) / (HEIGHT - 2 * PAD))
    span = span or 1.0
    middle = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    parts = []
    for number, own in enumerate(series.values()):
        colour = COLOURS[number % len(COLOURS)]
        hollow = (number // len(COLOURS)) % 2
        look = f'fill="none" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
        for x, y, name in own:
            across = WIDTH / 2 + (x - middle[0]) / span
            down = HEIGHT / 2 - (y - middle[1]) / span
            tip = Markup("<title>{}</title>").format(name)
            parts.append(
                f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4.5" {look} opacity=".8">{tip}'
                "</circle>"
            )
            if marked and name in marked:
                parts.append(words(across + 7, down - 5, marked[name], "start"))
    rows = 0
    for number, name in enumerate(series):
        x, rows = 10 + (number % 2) * WIDTH / 2, number // 2 + 1
        y = HEIGHT + 18 * rows
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<circle cx="{x + 6}" cy="{y - 4}" r="5" fill="{colour}"/>')
        parts.append(words(x + 18, y, name, "start"))
    return frame(HEIGHT + 18 * rows + 10, title, parts)
