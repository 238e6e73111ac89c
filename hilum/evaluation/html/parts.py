"""The parts of a page, for code that composes one: readable on a phone, in print, by a reader.

Text is escaped here; what a part returns is markup and stays as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from hilum.core.undefined import DASH

from .rendering import part

PARTS = "evaluation/html/parts.html.j2"
MOST_ROWS = 24
"""Rows of a table before the rest is folded."""


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after another."""
    return Markup().join(parts)


def anchor(title: str) -> str:
    """Return an identifier for a title."""
    return "".join(c if c.isalnum() else "-" for c in title.lower())


def heading(title: str) -> Markup:
    """Return a title inside a section."""
    return part(PARTS, "heading", title)


def paragraph(text: str) -> Markup:
    """Return a paragraph."""
    return part(PARTS, "paragraph", text)


def note(text: str) -> Markup:
    """Return a paragraph that stands out."""
    return part(PARTS, "note", text)


def code(text: str) -> Markup:
    """Return lines for a terminal."""
    return part(PARTS, "code", text)


def folded(summary: str, *content: str) -> Markup:
    """Return what a reader may want to see: closed on screen, open in print."""
    return part(PARTS, "folded", summary, joined(content))


def bullets(items: Iterable[str]) -> Markup:
    """Return a list."""
    return part(PARTS, "bullets", items)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    best: Sequence[int] = (),
    text: Sequence[int] = (),
    most: int = MOST_ROWS,
) -> Markup:
    """Return a table that scrolls sideways where the window is narrow, and folds very many rows.

    Args:
        head: Names of the columns.
        rows: Cells; the first of a row is its heading.
        caption: What the table shows.
        best: Rows to bring out.
        text: Columns that hold words, which wrap and are aligned left.
        most: Rows that are shown at once; not folded for a few more.
    """
    return part(PARTS, "table", head, rows, caption, best, text, most)


def picture(file: Path, caption: str) -> Markup:
    """Return a PNG baked into the page; the caption is its alternative text, too."""
    data = base64.b64encode(file.read_bytes()).decode()
    return part(PARTS, "picture", f"data:image/png;base64,{data}", caption)


def drawing(svg: Markup, caption: str) -> Markup:
    """Return an SVG with its caption; it scrolls sideways where the window is narrow."""
    return part(PARTS, "drawing", svg, caption)


def figure(content: Markup, caption: str) -> Markup:
    """Return what needs no scrolling with its caption."""
    return part(PARTS, "figure", content, caption)


def coloured(text: str, kind: str) -> Markup:
    """Return words in the colour of a kind: `yes` or `no`."""
    return part(PARTS, "coloured", text, kind)


def beside(value: str, remark: str) -> Markup:
    """Return a value with something smaller next to it."""
    return part(PARTS, "beside", value, remark)


def interval(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """Return a number with its 95 % interval; a dash where there is none."""
    if value != value:
        return DASH
    form = f"{'+' if sign else ''}.{digits}f"
    number = f"{value:{form}}"
    return beside(number, f"[{low:{form}}, {high:{form}}]") if low == low else number


def p_value(value: float) -> str:
    """Return a p value as papers print it; a dash where there is none."""
    if value != value:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
