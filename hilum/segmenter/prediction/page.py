"""One page per case, in one file: projections with numbered nodes, the node table, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.core.files import write_text
from hilum.core.geometry import Grid, nearest_index
from hilum.evaluation.html.rendering import render
from hilum.evaluation.metrics.node_record import NodeRecord, columns

from .pictures import projection, slice_tiles

SHOWN = 12
"""Nodes with slices of their own; the table has all."""

VIEWS = ((1, "coronal, right at the left"), (2, "sagittal, front at the left"))
"""Axes that are projected along."""

COLUMNS = (
    "region",
    "label",
    "status",
    "station",
    "short_axis_mm",
    "long_axis_mm",
    "volume_ml",
    "suv_max",
    "suv_mean",
    "suv_peak",
    "tlg",
    "hu_mean",
    "probability",
    "uncertainty",
    "size_class",
    "centroid_mm",
)
"""Columns of the node table that a page shows, where a case has them."""


def write_page(
    path: str | Path,
    title: str,
    volumes: Mapping[str, np.ndarray],
    grid: Grid,
    mask: np.ndarray,
    nodes: Sequence[NodeRecord],
    about: Mapping[str, object],
) -> Path:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        title: Name of the case.
        volumes: Physical values by modality, on the canonical grid.
        grid: Theirs and the mask's.
        mask: What was predicted.
        nodes: Of `evaluation.metrics.nodes.node_table`, from the mask on any grid of the same
            patient.
        about: Lines below the title.
    """
    shown = [name for name in COLUMNS if any(getattr(node, name) is not None for node in nodes)]
    if "region" in shown or len({node.label for node in nodes}) == 1:
        shown.remove("label")
    text = render(
        "segmenter/prediction/case.html.j2",
        title=title,
        about={key: _text(value) for key, value in about.items()},
        views=[_view(volumes, grid, mask, nodes, *view) for view in VIEWS],
        columns=[columns()[name].heading for name in shown],
        nodes=[_row(node, shown) for node in nodes],
        slices=[_slices(node, volumes, grid, mask) for node in nodes[:SHOWN]],
        shown=SHOWN,
    )
    write_text(path, text)
    return Path(path)


def _view(
    volumes: Mapping[str, np.ndarray],
    grid: Grid,
    mask: np.ndarray,
    nodes: Sequence[NodeRecord],
    axis: int,
    view: str,
) -> dict[str, object]:
    """Return a projection, its size and where the numbers of the nodes stand."""
    name = "pet" if "pet" in volumes else next(iter(volumes))
    across = 3 - axis
    width, height = grid.extent_mm[across], grid.extent_mm[0]
    scale = 420 / max(width, height)
    width, height = width * scale, height * scale
    marks = []
    for node in nodes:
        place = grid.to_index(node.centroid_mm)
        # Beside the node, but never beyond the picture.
        x = min((1 - (place[across] + 0.5) / grid.shape[across]) * width + 7, width - 20)
        y = max((1 - (place[0] + 0.5) / grid.shape[0]) * height - 5, 12)
        marks.append((node.id, f"{x:.1f}", f"{y:.1f}"))
    return {
        "title": f"{name.upper()}, {view}",
        "width": f"{width:.1f}",
        "height": f"{height:.1f}",
        "picture": projection(volumes[name], name, mask, grid, axis),
        "marks": marks,
    }


def _row(node: NodeRecord, shown: Sequence[str]) -> dict[str, object]:
    """Return the number of a node and its cells: text, and whether it is words."""
    cells = [_cell(getattr(node, name), columns()[name].digits) for name in shown]
    return {"id": node.id, "cells": cells}


def _cell(value: object, digits: int) -> tuple[str, bool]:
    if value is None:
        return "", False
    if isinstance(value, int | float):
        return f"{value:.{digits}f}", False
    if isinstance(value, tuple):
        return ", ".join(f"{v:.{digits}f}" for v in value), False
    return str(value), True


def _slices(
    node: NodeRecord, volumes: Mapping[str, np.ndarray], grid: Grid, mask: np.ndarray
) -> dict[str, object]:
    """Return the axial slice through the middle of a node, in every modality."""
    place = grid.to_index(node.centroid_mm)
    depth = int(np.clip(nearest_index(place[0]), 0, grid.shape[0] - 1))
    return {"id": node.id, "depth": depth, "tiles": slice_tiles(volumes, mask, grid, depth)}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
