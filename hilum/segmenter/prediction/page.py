"""One page per case, in one file: projections with numbered nodes, the node table, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from hilum.core.files import write_text
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import Row

from .pictures import projection, slice_tiles

SHOWN = 12
"""Nodes with slices of their own; the table has all."""

COLUMNS: dict[str, tuple[str, int]] = {
    "station": ("station", 0),
    "short_axis_mm": ("short axis, mm", 1),
    "long_axis_mm": ("long axis, mm", 1),
    "volume_ml": ("volume, ml", 2),
    "suv_max": ("SUVmax", 1),
    "suv_mean": ("SUVmean", 1),
    "suv_peak": ("SUVpeak", 1),
    "tlg": ("TLG", 1),
    "hu_mean": ("mean HU", 0),
    "probability": ("probability", 2),
    "uncertainty": ("uncertainty", 3),
    "size_class": ("size class (RECIST 1.1)", 0),
    "centroid_mm": ("centroid, mm (RAS)", 0),
}
"""Title and digits of each column of the node table that a page shows, where a case has it."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-size:.9rem}td,th{padding:.25rem .6rem;text-align:right;
border-bottom:1px solid #ddd}th{color:#555;font-weight:600}.wide{overflow-x:auto}
td.text{text-align:left}figure{display:inline-block;margin:0 .6rem .6rem 0;vertical-align:top}
figcaption{color:#666;font-size:.85rem}svg text{font:bold 13px sans-serif;fill:#b23c00;
paint-order:stroke;stroke:#fff;stroke-width:3px}svg a:hover text{fill:#0072b2}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:#666}dd{margin:0}
.note{color:#666;font-size:.85rem}
"""


def write_page(
    path: str | Path,
    title: str,
    volumes: Mapping[str, np.ndarray],
    grid: Grid,
    mask: np.ndarray,
    nodes: Sequence[Row],
    about: Mapping[str, object],
) -> Path:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        title: Name of the case.
        volumes: Physical values by modality, on the canonical grid.
        grid: Theirs and the mask's.
        mask: What was predicted.
        nodes: Rows of `evaluation.metrics.nodes.node_table`, from the mask on any grid of the same
            patient.
        about: Lines below the title.
    """
    lines = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in about.items())
    parts = [
        f"<h1>{_text(title)}</h1><dl>{lines}</dl>",
        "<h2>Projections</h2>",
        _projections(volumes, grid, mask, nodes),
        f"<h2>Nodes: {len(nodes)}</h2>",
        _table(nodes),
        *(_node(node, volumes, grid, mask) for node in nodes[:SHOWN]),
    ]
    if len(nodes) > SHOWN:
        parts.append(f"<p class=note>Slices are shown of the {SHOWN} largest nodes.</p>")
    parts.append("<p class=note>For research only; not a medical device.</p>")
    write_text(
        path,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n",
    )
    return Path(path)


def _projections(
    volumes: Mapping[str, np.ndarray], grid: Grid, mask: np.ndarray, nodes: Sequence[Row]
) -> str:
    name = "pet" if "pet" in volumes else next(iter(volumes))
    figures = []
    for axis, view in ((1, "coronal, right at the left"), (2, "sagittal, front at the left")):
        across = 3 - axis
        width, height = grid.extent_mm[across], grid.extent_mm[0]
        scale = 420 / max(width, height)
        width, height = width * scale, height * scale
        marks = []
        for node in nodes:
            place = grid.to_index(node["centroid_mm"])  # pyright: ignore[reportArgumentType]
            # Beside the node, but never beyond the picture.
            x = min((1 - (place[across] + 0.5) / grid.shape[across]) * width + 7, width - 20)
            y = max((1 - (place[0] + 0.5) / grid.shape[0]) * height - 5, 12)
            number = node["id"]
            marks.append(
                f'<a href="#node-{number}"><text x="{x:.1f}" y="{y:.1f}">{number}</text></a>'
            )
        picture = projection(volumes[name], name, mask, grid, axis)
        figures.append(
            f'<figure><svg width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{view}">'
            f'<image width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
            f'href="{picture}"/>{"".join(marks)}</svg>'
            f"<figcaption>{_text(name.upper())}, {view}</figcaption></figure>"
        )
    return "".join(figures)


def _table(nodes: Sequence[Row]) -> str:
    if not nodes:
        return "<p>None was found.</p>"
    columns = [name for name in COLUMNS if any(name in node for node in nodes)]
    head = "".join(f"<th>{_text(COLUMNS[name][0])}</th>" for name in columns)
    rows = "".join(
        f'<tr id="node-{node["id"]}"><td>{node["id"]}</td>'
        + "".join(_cell(node.get(name), COLUMNS[name][1]) for name in columns)
        + "</tr>"
        for node in nodes
    )
    return f"<div class=wide><table><thead><tr><th>node</th>{head}</tr></thead>{rows}</table></div>"


def _cell(value: object, digits: int) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, int | float):
        return f"<td>{value:.{digits}f}</td>"
    if isinstance(value, list):
        return f"<td>{', '.join(f'{v:.{digits}f}' for v in value)}</td>"
    return f"<td class=text>{_text(value)}</td>"


def _node(node: Row, volumes: Mapping[str, np.ndarray], grid: Grid, mask: np.ndarray) -> str:
    """Return the axial slice through the middle of a node."""
    place = grid.to_index(node["centroid_mm"])  # pyright: ignore[reportArgumentType]
    depth = int(np.clip(round(float(place[0])), 0, grid.shape[0] - 1))
    figures = "".join(
        f'<figure><img alt="{_text(title)}, node {node["id"]}" src="{picture}">'
        f"<figcaption>{_text(title)}</figcaption></figure>"
        for title, picture in slice_tiles(volumes, mask, grid, depth).items()
    )
    return f"<h2>Node {node['id']}, slice {depth}</h2>{figures}"


def _text(value: object) -> str:
    if isinstance(value, float):
        value = f"{value:.4g}"
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return escape(str(value))
