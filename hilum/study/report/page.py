"""The pieces of a self-contained HTML page: readable on a phone, in print, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from . import interval_chart as strips

LIGHT = {
    "ink": "#1b2430", "soft": "#586472", "line": "#d8dee6", "ground": "#ffffff",
    "panel": "#f5f7fa", "link": "#0b5cad", "good": "#0a6b3d", "bad": "#a1260d",
    "mark": "#0b4f86", "bar": "#9cc3e6",
}  # fmt: skip
DARK = {
    "ink": "#e7ebf0", "soft": "#a3aebb", "line": "#37414d", "ground": "#12171d",
    "panel": "#1b222a", "link": "#7db8f5", "good": "#5fd39a", "bad": "#ff9d85",
    "mark": "#8fc4f7", "bar": "#2f5f8a",
}  # fmt: skip


def _colours(scheme: dict[str, str]) -> str:
    return ":root{" + ";".join(f"--{name}:{value}" for name, value in scheme.items()) + "}"


STYLE = f"""
{_colours(LIGHT)}
@media screen and (prefers-color-scheme:dark){{{_colours(DARK)}}}
""" + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:66rem;padding:1.5rem 1rem 4rem;background:var(--ground);
color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
overflow-wrap:break-word}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .3rem}
p,li{max-width:46rem}ul{padding-left:1.2rem}li{margin:.2rem 0}a{color:var(--link)}
.soft,figcaption,caption{color:var(--soft);font-size:.9rem}
.lead{font-size:1.1rem}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--ground);
padding:.3rem .6rem;z-index:2}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.9rem;margin:1rem 0}
nav a{padding:.15rem 0}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.4rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
thead th{font-weight:600;vertical-align:bottom;white-space:normal}
th:first-child,td:first-child{text-align:left;padding-left:0}
caption span{display:block;position:sticky;left:0;max-width:min(46rem,calc(100vw - 2rem))}
tbody th{font-weight:400;white-space:normal;min-width:14rem;max-width:24rem;position:sticky;left:0;
background:var(--ground)}
th.text,td.text{text-align:left}td.text{white-space:normal;min-width:9rem}
small small{font-size:1em}
tr.best th,tr.best td{background:var(--panel);font-weight:600}
td small{color:var(--soft);font-weight:400}
figure{margin:1rem 0}figure img{max-width:100%;height:auto;border-radius:4px}
figure svg{max-width:100%;height:auto;display:block}
.grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(18rem,100%),1fr))}
code,pre{font:.85rem/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--panel);padding:.8rem;overflow-x:auto;border-radius:4px}
.note{background:var(--panel);border-left:3px solid var(--link);padding:.6rem .9rem;margin:1rem 0}
.yes{color:var(--good)}.no{color:var(--bad)}
summary{cursor:pointer;color:var(--link);padding:.3rem 0}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media(max-width:44rem){body{padding-top:.8rem}
figure .scroll svg,figure .scroll img{max-width:none;width:42rem}
th,td{padding:.3rem .5rem}tbody th{min-width:7rem;max-width:9rem}}
@media print{body{max-width:none;padding:0;font-size:10.5pt}nav,.skip{display:none}
h2,h3,caption{break-after:avoid}figure .scroll,tr,.strip{break-inside:avoid}
.scroll{overflow:visible}tbody th{min-width:8rem}td small{white-space:nowrap}
table{font-size:8.5pt}th,td{padding:.15rem .35rem;white-space:normal}a{color:inherit}}
""" + strips.STYLE  # fmt: skip

MOST_ROWS, FEW_MORE = 24, 4
"""Rows of a table before the rest is folded; not for a few more."""

OPEN_IN_PRINT = (
    "<script>addEventListener('beforeprint',()=>document.querySelectorAll('details')"
    ".forEach(d=>d.open=true))</script>"
)


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<a class="skip" href="#content">To the content</a>{"".join(body)}{OPEN_IN_PRINT}'
        "</body></html>\n"
    )


def section(title: str, *content: str) -> str:
    """Return a titled section that the navigation can point to."""
    return f'<section id="{anchor(title)}"><h2>{escape(title)}</h2>{"".join(content)}</section>'


def heading(title: str) -> str:
    """Return a title inside a section."""
    return f"<h3>{escape(title)}</h3>"


def navigation(titles: Sequence[str]) -> str:
    """Return links to sections."""
    links = "".join(f'<a href="#{anchor(title)}">{escape(title)}</a>' for title in titles)
    return f'<nav aria-label="Sections">{links}</nav>'


def anchor(title: str) -> str:
    """Return an identifier for a title."""
    return "".join(c if c.isalnum() else "-" for c in title.lower())


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """Return a paragraph that stands out."""
    return f'<div class="note" role="note">{escape(text)}</div>'


def folded(summary: str, *content: str) -> str:
    """Return what a reader may want to see: closed on screen, open in print."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(content)}</details>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    best: int | None = None,
    text: Sequence[int] = (),
    most: int = MOST_ROWS,
) -> str:
    """Return a table that scrolls sideways where the window is narrow, and folds very many rows.

    Args:
        head: Names of the columns.
        rows: Cells as HTML; the first of a row is its heading.
        caption: What the table shows.
        best: Row to bring out.
        text: Columns that hold words, which wrap and are aligned left.
        most: Rows that are shown at once.
    """
    if len(rows) > most + FEW_MORE:
        more = f"{len(rows) - most} more rows"
        rest = table(head, rows[most:], f"{caption} (continued)", text=text, most=len(rows))
        return table(head, rows[:most], caption, best, text) + folded(more, rest)
    cells = "".join(
        f'<th scope="col"{" class=text" if number in text else ""}>{escape(name)}</th>'
        for number, name in enumerate(head)
    )
    body = "".join(
        f"<tr{' class=best' if number == best else ''}>" + _cells(row, text) + "</tr>"
        for number, row in enumerate(rows)
    )
    title = f"<caption><span>{escape(caption)}</span></caption>" if caption else ""
    rows_html = f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody>"
    return _scroll(f"<table>{title}{rows_html}</table>", caption or f"Table of {head[0]}")


def _cells(row: Sequence[str], text: Sequence[int]) -> str:
    found = "".join(
        f"<td{' class=text' if number in text else ''}>{cell}</td>"
        for number, cell in enumerate(row[1:], 1)
    )
    return f'<th scope="row">{row[0]}</th>{found}'


def picture(file: Path, caption: str) -> str:
    """Return a PNG baked into the page; the caption is its alternative text, too."""
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        "<figure>"
        + _scroll(f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">', caption)
        + f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def drawing(svg: str, caption: str) -> str:
    """Return an SVG with its caption; it scrolls sideways where the window is narrow."""
    return f"<figure>{_scroll(svg, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def strip_chart(html: str, caption: str) -> str:
    """Return a chart of `strips` with its caption."""
    return f"<figure>{html}<figcaption>{escape(caption)}</figcaption></figure>"


def bullets(items: Iterable[str]) -> str:
    """Return a list of plain texts."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def interval(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """Return a number with its 95 % interval; a dash where there is none."""
    if value != value:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    ends = f" <small>[{low:{form}}, {high:{form}}]</small>" if low == low else ""
    return f"{value:{form}}{ends}"


def p_value(value: float) -> str:
    """Return a p value as papers print it."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _scroll(content: str, label: str) -> str:
    # Focusable, so that the arrow keys scroll it; a region, so that its name is read.
    name = f'role="region" aria-label="{escape(label)}"'
    return f'<div class="scroll" tabindex="0" {name}>{content}</div>'
