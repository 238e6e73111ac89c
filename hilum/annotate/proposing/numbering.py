"""Number proposals by doubt: what a labeller should look at first is number 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.viewer.case import mark

from ..formats.slicer import Segment


def by_doubt(nodes: Sequence[NodeRecord]) -> list[NodeRecord]:
    """Return nodes numbered again, those with the highest mean entropy first."""
    ranked = sorted(nodes, key=lambda node: (-(node.uncertainty or 0.0), node.id))
    return [replace(node, id=number) for number, node in enumerate(ranked, 1)]


def numbered(mask: np.ndarray, grid: Grid, nodes: Sequence[NodeRecord]) -> np.ndarray:
    """Return the number of each voxel's proposal, on the grid of the mask.

    Args:
        mask: Whole numbers `[D, H, W]`.
        grid: Where it lies, axes in any order.
        nodes: Its nodes, numbered as they are to be.
    """
    canonical, axes, flips = grid.canonical()
    over = tuple(axis for axis in range(3) if flips[axis])
    marked = mark(np.flip(mask.transpose(axes), over), canonical, nodes)
    turned = np.zeros(canonical.shape, np.uint16)
    box = tuple(slice(a, a + n) for a, n in zip(marked.start, marked.labels.shape, strict=True))
    turned[box] = marked.labels
    return np.ascontiguousarray(np.flip(turned, over).transpose(np.argsort(axes)))


def segments_of(nodes: Sequence[NodeRecord], names: Sequence[str]) -> list[Segment]:
    """Return a segment per proposal, none of them started; red is doubtful, green is sure.

    Args:
        nodes: Numbered proposals.
        names: Of the classes but the background.
    """
    found = []
    for node in nodes:
        sure = float(np.clip(node.probability or 0.0, 0, 1))
        name = f"{node.id} {names[node.label - 1]}, {node.short_axis_mm:.0f} mm, p {sure:.2f}"
        colour = (round(1 - sure, 3), round(0.25 + 0.6 * sure, 3), 0.2)
        found.append(Segment(name, value=node.label, number=node.id, colour=colour))
    return found
