"""Connected components of a mask, with the neighbourhood named by its number of neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

Neighbours = Literal[6, 18, 26]
SPARSE = 0.05
"""Share of the voxels below which looking at runs of foreground beats looking at every voxel."""

BEFORE: dict[int, tuple[tuple[int, int, int], ...]] = {
    6: ((-1, 0, 0), (0, -1, 0)),
    18: ((-1, -1, 0), (-1, 0, 1), (-1, 1, 0), (0, -1, 1)),
    26: ((-1, -1, 1), (-1, 0, 1), (-1, 1, 1), (0, -1, 1)),
}
"""The earlier rows whose runs a run may touch: step in depth and height, reach along the width."""


def components(mask: np.ndarray, neighbours: Neighbours = 26) -> tuple[np.ndarray, int]:
    """Number the connected parts of a mask from 1 on, in the order of their first voxels.

    Args:
        mask: Booleans `[D, H, W]`.
        neighbours: 6 shares faces, 18 edges too, 26 corners too.

    Returns:
        int32 `[D, H, W]`, 0 outside, and how many parts there are.
    """
    labels = np.zeros(mask.shape, np.int32)
    if np.count_nonzero(mask) < SPARSE * mask.size:
        return labels, _by_runs(mask, neighbours, labels)
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[neighbours])
    count = ndimage.label(mask, structure, output=labels)
    return labels, int(count)  # pyright: ignore[reportArgumentType]


def _by_runs(mask: np.ndarray, neighbours: Neighbours, labels: np.ndarray) -> int:
    """Write the numbers into `labels`, joining runs of foreground along the width."""
    flat = np.flatnonzero(mask)
    if not flat.size:
        return 0
    _, height, width = mask.shape
    rows, column = np.divmod(flat, width)
    deep, high = np.divmod(rows, height)
    # With a gap around each row and slice, a step from one run never ends in a row beyond.
    place = (deep * (height + 2) + high + 1) * (width + 2) + column + 1
    first = np.flatnonzero(np.diff(place, prepend=-2) != 1)
    last = np.append(first[1:], len(place)) - 1
    start, stop = place[first], place[last]
    number = _number(start, stop, height + 2, width + 2, neighbours)
    labels.flat[flat] = np.repeat(number, last - first + 1)
    return int(number.max())


def _number(
    start: np.ndarray, stop: np.ndarray, height: int, width: int, neighbours: Neighbours
) -> np.ndarray:
    """Return the number of the part of each run, given its first and last place."""
    one, other = [], []
    for deep, high, reach in BEFORE[neighbours]:
        step = (deep * height + high) * width
        low = np.searchsorted(stop, start + step - reach)
        count = np.searchsorted(start, stop + step + reach, "right") - low
        runs = np.repeat(np.arange(len(start)), count)
        # Counts up from `low` for each run that touches some.
        within = np.arange(len(runs)) - np.repeat(np.cumsum(count) - count, count)
        one.append(runs)
        other.append(np.repeat(low, count) + within)
    a, b = np.concatenate(one), np.concatenate(other)
    graph = sparse.coo_array((np.ones(len(a), bool), (a, b)), (len(start), len(start)))
    _, part = csgraph.connected_components(graph, directed=False)
    _, begins, back = np.unique(part, return_index=True, return_inverse=True)
    order = np.empty(len(begins), np.int32)
    order[np.argsort(begins)] = np.arange(1, len(begins) + 1)
    return order[back]
