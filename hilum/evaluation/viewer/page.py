"""The viewer's page: HTML and style; `viewer_script` makes it move."""

from __future__ import annotations

from html import escape

from .script import SCRIPT

STYLE = """
:root{color-scheme:dark;--ink:#e7ebf0;--soft:#a3aebb;--line:#37414d;--ground:#12171d;
--panel:#1b222a;--link:#7db8f5;--bad:#ff9d85}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center;padding:.5rem .8rem;
background:var(--panel);border-bottom:1px solid var(--line)}
h1{font-size:1rem;margin:0 .6rem 0 0}
label{display:inline-flex;gap:.35rem;align-items:center;color:var(--soft)}
select,input[type=number]{background:var(--ground);color:var(--ink);border:1px solid var(--line);
border-radius:4px;padding:.15rem .3rem;font:inherit;max-width:16rem}
#panes{display:flex;flex-wrap:wrap;gap:.5rem;padding:.5rem .8rem;touch-action:pan-x}
figure{margin:0;flex:1 1 16rem;min-width:0}
figcaption{color:var(--soft);padding-bottom:.2rem}
canvas{display:block;width:100%;background:#000;border-radius:3px}
#bar{display:flex;gap:.8rem;align-items:center;padding:0 .8rem .4rem}
#slider{flex:1}#where{min-width:18rem;font-variant-numeric:tabular-nums}
#message{color:var(--bad);padding:0 .8rem;margin:0;white-space:pre-wrap}
.scroll{overflow-x:auto;padding:.3rem .8rem 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}
tbody tr{cursor:pointer}tbody tr:hover{background:var(--panel)}
tbody tr[aria-selected=true]{background:#22405f}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.4em}
.keys{color:var(--soft);padding:0 .8rem .8rem;margin:0}
kbd{border:1px solid var(--line);border-radius:3px;padding:0 .3em;font:inherit}
:focus-visible{outline:2px solid var(--link);outline-offset:1px}
"""

BODY = """
<header><h1 id="title"></h1>
<label>Case <select id="case"></select></label>
<span id="windows" style="display:contents"></span>
<label><input type="checkbox" id="outline" checked> Contours</label>
<span id="legend"></span></header>
<p id="message" role="alert"></p>
<main id="panes" tabindex="0" aria-label="Axial slices"></main>
<div id="bar"><input type="range" id="slider" min="0" max="0" value="0" aria-label="Slice">
<output id="where"></output></div>
<p class="keys">Wheel, <kbd>&uarr;</kbd> <kbd>&darr;</kbd>, <kbd>PgUp</kbd> <kbd>PgDn</kbd>,
<kbd>Home</kbd> <kbd>End</kbd>: slice &middot; <kbd>n</kbd> <kbd>p</kbd>: next, previous node
&middot; <kbd>c</kbd>: contours &middot; <kbd>z</kbd>: body or whole slice &middot; <kbd>,</kbd>
<kbd>.</kbd>: case. Patient's right at the left. For research only.</p>
<div class="scroll"><table id="nodes"><caption></caption><thead></thead><tbody></tbody></table>
</div>
"""


def page(title: str) -> str:
    """Return the whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{BODY}<script>{SCRIPT}</script></body></html>\n"
    )
