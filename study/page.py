"""The pieces of a self-contained HTML page: readable on a phone, in print, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
:root{--ink:#1b2430;--soft:#586472;--line:#d8dee6;--ground:#fff;--panel:#f5f7fa;--link:#0b5cad;
--good:#0a6b3d;--bad:#a1260d}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf0;--soft:#a3aebb;--line:#37414d;--ground:#12171d;
--panel:#1b222a;--link:#7db8f5;--good:#5fd39a;--bad:#ff9d85}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--ground);
color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
p,li{max-width:46rem}a{color:var(--link)}
.soft,figcaption,caption{color:var(--soft);font-size:.9rem}
.lead{font-size:1.1rem}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.9rem;margin:1rem 0}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.9rem;min-width:28rem}
caption{text-align:left;padding-bottom:.4rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{font-weight:600}tr.best td{background:var(--panel);font-weight:600}
td small{color:var(--soft);font-weight:400}
figure{margin:1rem 0}figure img,figure svg{max-width:100%;height:auto;border-radius:4px}
.grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr))}
code,pre{font:.85rem/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--panel);padding:.8rem;overflow-x:auto;border-radius:4px}
.note{background:var(--panel);border-left:3px solid var(--link);padding:.6rem .9rem;margin:1rem 0}
.yes{color:var(--good)}.no{color:var(--bad)}
a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media print{body{max-width:none}nav{display:none}h2{break-after:avoid}
figure,table{break-inside:avoid}}
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def section(title: str, *content: str) -> str:
    """Return a titled section that the navigation can point to."""
    return f'<section id="{anchor(title)}"><h2>{escape(title)}</h2>{"".join(content)}</section>'


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
    return f'<div class="note">{escape(text)}</div>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", best: int | None = None
) -> str:
    """Return a table; cells are HTML already. `best` is the row to bring out."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f"<tr{' class=best' if number == best else ''}>"
        + "".join(f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for number, row in enumerate(rows)
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    rows_html = f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{title}{rows_html}</table></div>'


def picture(file: Path, caption: str) -> str:
    """Return a PNG baked into the page; the caption is its alternative text, too."""
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def drawing(svg: str, caption: str) -> str:
    """Return an SVG with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


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
