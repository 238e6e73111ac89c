"""Long and short axis of a node, as RECIST 1.1 defines them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

TIE = 1e-6
"""Share of a length within which two are equally long: rounding decides nothing."""

FEW = 200
"""Points up to which looking at every pair is faster than finding their hull first."""

_TURNS = np.arange(8) * math.pi / 8
DIRECTIONS = np.stack([np.cos(_TURNS), np.sin(_TURNS)])
"""Eight directions of the plane, `[2, 8]`; every other lies within pi / 16 of one."""

_TOP, _BOTTOM, _LEFT, _RIGHT = (0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1)
"""Middles of the sides of a cell between four voxel centres."""


def _lines_of_cells() -> tuple[np.ndarray, np.ndarray]:
    """Return the lines through a cell by the code of its corners, `[16, 2, 2, 2]`, and how many.

    A corner inside adds 1 (upper left), 2 (upper right), 4 (lower left) or 8 to the code. Where
    corners inside lie opposite each other, lines cut off the corners that lie outside.
    """
    cut = [(_TOP, _LEFT), (_TOP, _RIGHT), (_BOTTOM, _LEFT), (_BOTTOM, _RIGHT)]
    lines, count = np.zeros((16, 2, 2, 2)), np.zeros(16, int)
    for code in range(1, 15):
        inside = [bool(code >> corner & 1) for corner in range(4)]
        if code in (6, 9):
            own = [cut[corner] for corner in range(4) if not inside[corner]]
        else:
            pairs = ((0, 1, _TOP), (2, 3, _BOTTOM), (0, 2, _LEFT), (1, 3, _RIGHT))
            own = [tuple(side for a, b, side in pairs if inside[a] != inside[b])]
        lines[code, : len(own)], count[code] = own, len(own)
    return lines, count


_LINES, _COUNT = _lines_of_cells()


def axes_mm(inside: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Return the long and the short axis of one node in mm.

    The long axis is the longest diameter on any axial slice; the short axis is the longest
    diameter at right angles to it on the same slice. Diameters end at the outline that runs midway
    between the centres of voxels inside and outside (marching squares at 1/2), since the corners of
    voxels lie outside of what was drawn. Of several long axes of one length the one with the
    longest short axis counts, so that mirrored and transposed masks measure the same.

    Source:
        Eisenhauer et al., Eur J Cancer 2009 (RECIST 1.1); Schwartz et al., Eur J Cancer 2009
        (nodes: short axis at right angles to the long one).

    Args:
        inside: Booleans `[D, H, W]`, cut to the node.
        spacing: mm along depth, height, width.
    """
    scale = np.array(spacing[1:], float)
    ends, there = _ends(inside)
    ends *= scale
    reach = _reach(ends, there)
    diameters: list[tuple[float, int, np.ndarray]] = []
    long_mm = 0.0
    for index in np.argsort(-reach, kind="stable").tolist():
        if not there[index].any() or reach[index] < long_mm * (1 - TIE):
            break  # no further slice is as long
        length, along = _diameters(ends[:, index, there[index]].reshape(-1, 2))
        diameters.append((length, index, along))
        long_mm = max(long_mm, length)
    short_mm = 0.0
    for length, index, along in diameters:
        if length >= long_mm * (1 - TIE):
            short_mm = max(short_mm, _width(outline(inside[index]) * scale, along))
    return long_mm, short_mm


def outline(part: np.ndarray) -> np.ndarray:
    """Return the outline of a slice `[H, W]` as lines `[N, 2, 2]`: ends, then row and column.

    In units of voxels from the centre of the first. Voxels that share a corner are joined.
    """
    height, width = part.shape
    code = np.zeros((height + 1, width + 1), np.uint8)
    for bit, (row, column) in enumerate(((1, 1), (1, 0), (0, 1), (0, 0))):
        code[row : row + height, column : column + width] |= part.view(np.uint8) << bit
    cells = np.argwhere(_COUNT[code] > 0)
    own = code[tuple(cells.T)]
    lines = cells[:, None, None] + _LINES[own] - 1
    return lines[np.arange(2) < _COUNT[own][:, None]]


def _ends(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points whose hull is that of the outline: where each row of voxels ends.

    Returns:
        Row and column `[6, D, H, 2]` in voxels, and which rows there are, `[D, H]`.
    """
    there: np.ndarray = np.asarray(inside.any(2))
    first, last = inside.argmax(2), inside.shape[2] - 1 - inside[:, :, ::-1].argmax(2)
    rows = np.broadcast_to(np.arange(inside.shape[1]), there.shape)
    sides = [(rows, first - 0.5), (rows, last + 0.5)]
    tops = [(rows + step, column) for step in (-0.5, 0.5) for column in (first, last)]
    return np.stack([np.stack(point, -1) for point in (*sides, *tops)]), there


def _reach(ends: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return a length of each slice that its diameter cannot exceed, at most 2 % above it."""
    along = ends @ DIRECTIONS
    empty = ~there[None, :, :, None]
    high = np.where(empty, -np.inf, along).max((0, 2))
    low = np.where(empty, np.inf, along).min((0, 2))
    return (high - low).max(1) / math.cos(math.pi / 16) * (1 + 1e-9)


def _diameters(points: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the longest diameter of points in mm, `[N, 2]`, and its directions, `[K, 2]`."""
    if len(points) > FEW:
        with contextlib.suppress(QhullError):
            points = points[ConvexHull(points).vertices]
    steps = points[:, None] - points[None]
    squares = np.einsum("ijk,ijk->ij", steps, steps)
    long_mm = math.sqrt(squares.max())
    # Of a diameter and its reverse, one; and of parallel ones.
    along = steps[squares >= (long_mm * (1 - TIE)) ** 2] / long_mm
    along = along[along[:, 0] + 1e-9 * along[:, 1] > 0]
    angle = np.round(np.arctan2(along[:, 1], along[:, 0]), 9)
    return long_mm, along[np.unique(angle, return_index=True)[1]]


def _width(lines: np.ndarray, directions: np.ndarray) -> float:
    """Return the longest diameter at right angles to one of several directions.

    How far the outline reaches to both sides changes linearly between its corners, so that one of
    them is where it is widest.

    Args:
        lines: Outline in mm, `[N, 2, 2]`.
        directions: Unit vectors, `[K, 2]`.
    """
    along, side = (lines @ turn.T for turn in (directions, directions[:, ::-1] * [-1, 1]))
    slack = TIE * float((along.max((0, 1)) - along.min((0, 1))).max())
    # Each direction has a band of its own, so that all are looked through at once.
    along += np.arange(len(directions)) * (2 * float(along.max() - along.min()) + 1)
    order = np.argsort(along, axis=1)
    start, end = np.take_along_axis(along, order, 1).transpose(1, 0, 2).reshape(2, -1)
    one, other = np.take_along_axis(side, order, 1).transpose(1, 0, 2).reshape(2, -1)
    places = np.sort(along, None)
    places = places[np.diff(places, prepend=-np.inf) > 0]
    first = np.searchsorted(places, start - slack)
    count = np.searchsorted(places, end + slack, "right") - first
    # Counts up from `first` for each place that a line passes.
    place = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    length = np.maximum(end - start, slack)
    share = np.clip((places[place] - np.repeat(start, count)) / np.repeat(length, count), 0, 1)
    value = np.repeat(one, count) + share * np.repeat(other - one, count)
    high, low = np.full(len(places), -np.inf), np.full(len(places), np.inf)
    np.maximum.at(high, place, value)
    np.minimum.at(low, place, value)
    # Of a line along the place itself, the lines that it joins give both ends.
    return float((high - low).max())
