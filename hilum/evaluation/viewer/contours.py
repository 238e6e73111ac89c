"""The outlines of the nodes in a slice, along the edges of its pixels."""

from __future__ import annotations

import numpy as np

from .case import Shown


def contours(shown: Shown, depth: int) -> dict[str, dict[str, list[list[int]]]]:
    """Return the outlines of the nodes in a slice: by whose they are and number, lines.

    A line is `x1, y1, x2, y2` along the edges of pixels, counted from the upper left corner of
    what `slice_png` gives.
    """
    height, width = shown.grid.shape[1:]
    found: dict[str, dict[str, list[list[int]]]] = {}
    for name, marked in shown.marked.items():
        index = depth - marked.start[0]
        if not 0 <= index < len(marked.labels):
            continue
        part = marked.labels[index]
        corner = np.array([marked.start[2], marked.start[1]] * 2)
        ends = np.array([width, height] * 2)
        found[name] = {
            str(number): (ends - edges(part == number) - corner).tolist()
            for number in np.unique(part[part > 0]).tolist()
        }
    return found


def edges(inside: np.ndarray) -> np.ndarray:
    """Return the border of a mask `[H, W]` as lines `[N, 4]`: column, row, column, row."""
    around = np.pad(inside, 1)
    across = _runs(around[:-1, 1:-1] != around[1:, 1:-1])
    down = _runs((around[1:-1, :-1] != around[1:-1, 1:]).T)
    lines = [across[:, [1, 0, 2, 0]], down[:, [0, 1, 0, 2]]]
    return np.concatenate(lines)


def _runs(edge: np.ndarray) -> np.ndarray:
    """Return the runs of marked edges in each row: `[N, 3]` of row, first, one after the last."""
    step = np.diff(np.pad(edge, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(step > 0), np.argwhere(step < 0)
    return np.column_stack([starts, stops[:, 1]])
