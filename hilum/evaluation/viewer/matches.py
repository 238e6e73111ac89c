"""Which nodes of a mask lie on nodes of the reference, and which of the reference are missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hilum.core.geometry import Grid

from ..metrics.node_record import NodeRecord
from ..metrics.nodes import node_table
from .case import Marked, Shown

PREDICTION, REFERENCE = "prediction", "reference"


def with_matches(shown: Shown) -> Shown:
    """Return a case that says what each node lies on, with the nodes that were missed.

    A node matches where it shares a voxel with one of the other mask: `R1, R3`, or `none`.

    Args:
        shown: With marks of `prediction` and `reference`; any other is given back as it is.
    """
    # By what follows the colon: a node of a region matches one of the same region only.
    sides = [
        (shown.marked[name], shown.marked[REFERENCE + name.removeprefix(PREDICTION)])
        for name in shown.marked
        if name.startswith(PREDICTION) and REFERENCE + name.removeprefix(PREDICTION) in shown.marked
    ]
    if not sides:
        return shown
    pairs = {pair for side in sides for pair in matches(*side)}
    partners = {
        node.id: ", ".join(f"R{n}" for one, n in sorted(pairs) if one == node.id) or "none"
        for node in shown.nodes
    }
    seen = {other for _, other in pairs}
    lost = [node for _, reference in sides for node in missed(reference, shown.grid, seen)]
    return replace(shown, partners=partners, missed=lost)


def matches(prediction: Marked, reference: Marked) -> set[tuple[int, int]]:
    """Return the pairs of numbers that share a voxel."""
    low = np.maximum(prediction.start, reference.start)
    high = np.minimum(_end(prediction), _end(reference))
    if (high <= low).any():
        return set()
    one, other = (_cut(marked, low, high) for marked in (prediction, reference))
    both = (one > 0) & (other > 0)
    pairs = np.unique(np.stack([one[both], other[both]], 1), axis=0)
    return {(int(a), int(b)) for a, b in pairs}


def missed(reference: Marked, grid: Grid, found: set[int] | Sequence[int]) -> list[NodeRecord]:
    """Return the record of each node of the reference that is not among those found."""
    lost: list[NodeRecord] = []
    d, h, w = reference.labels.shape
    around = grid.crop(reference.start, (d, h, w))
    for number in sorted(set(np.unique(reference.labels).tolist()) - {0, *found}):
        (node,) = node_table(reference.labels == number, around)
        lost.append(replace(node, id=number))
    return lost


def _end(marked: Marked) -> np.ndarray:
    return np.array(marked.start) + marked.labels.shape


def _cut(marked: Marked, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the labels between two corners of the case's grid."""
    sides = zip(low, high, marked.start, strict=True)
    return marked.labels[tuple(slice(int(a - start), int(b - start)) for a, b, start in sides)]
