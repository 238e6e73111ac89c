"""Trace a mask of one slice as closed outlines along the edges of its pixels.

A polygon along pixel edges holds exactly the centres of the pixels inside and has their area, so
that nothing is lost on the way to contours and back.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Corner = tuple[int, int]
"""Row and column of a corner between pixels; (0, 0) is the outer corner of the first pixel."""
_STEPS: tuple[Corner, ...] = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Right, down, left, up: each is a turn to the right from the one before."""


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """Return the outlines of a mask, one for each part that shares edges.

    Holes belong to the outline around them, joined by a channel without width (a keyhole, DICOM
    PS3.3 C.8.8.6.3), since readers differ in what a contour within a contour means.

    Args:
        inside: Booleans `[H, W]`.

    Returns:
        Corners `[N, 2]` as (row, column) in pixels, where centres are whole numbers; the last joins
        the first.
    """
    labels, _ = ndimage.label(np.asarray(inside, bool))  # pyright: ignore[reportGeneralTypeIssues]
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        start = np.array([side.start for side in box])
        found.append(_corners(_outline(labels[box] == number)) + start)
    return found


def _outline(part: np.ndarray) -> list[Corner]:
    """Return the path around a part that shares edges, with its holes joined."""
    loops = _loops(part)
    path = next(loop for loop in loops if _area(loop) > 0)
    # From left to right, so that what lies left of a hole is joined before it.
    for hole in sorted((loop for loop in loops if _area(loop) < 0), key=_leftmost):
        column, row = _leftmost(hole)
        turn = hole.index((row, column))
        known = set(path)
        while (row, column) not in known:
            column -= 1
        at = path.index((row, column))
        path = path[: at + 1] + hole[turn:] + hole[: turn + 1] + path[at:]
    return path


def _loops(part: np.ndarray) -> list[list[Corner]]:
    """Return closed paths along the edges with the inside at the right: clockwise around parts."""
    around = np.pad(part, 1)
    beside = (around[:-2, 1:-1], around[1:-1, 2:], around[2:, 1:-1], around[1:-1, :-2])
    starts: tuple[Corner, ...] = ((0, 0), (0, 1), (1, 1), (1, 0))
    edges: dict[tuple[Corner, int], None] = {}
    for way, (neighbour, start) in enumerate(zip(beside, starts, strict=True)):
        for row, column in np.argwhere(part & ~neighbour) + start:
            edges[(int(row), int(column)), way] = None
    left = dict(edges)
    found = []
    while left:
        edge = next(iter(left))
        loop = []
        while edge in left:
            (row, column), way = edge
            del left[edge]
            loop.append((row, column))
            corner = (row + _STEPS[way][0], column + _STEPS[way][1])
            # Where pixels touch at a corner only, a turn to the right stays with the own one.
            ways = (way + 1, way, way - 1)
            edge = next((corner, w % 4) for w in ways if (corner, w % 4) in edges)
        found.append(loop)
    return found


def _area(loop: list[Corner]) -> float:
    """Return the area in pixels; negative around a hole."""
    row, column = np.array(loop, float).T
    return float(np.sum(column * np.roll(row, -1) - row * np.roll(column, -1))) / 2


def _leftmost(loop: list[Corner]) -> Corner:
    """Return column and row of the upper one of the leftmost corners."""
    return min((column, row) for row, column in loop)


def _corners(loop: list[Corner]) -> np.ndarray:
    """Leave out what lies straight between others, and count from the centre of the first pixel."""
    points = np.array(loop)
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    # A channel turns right round at its end: that corner stays.
    kept = (np.sign(before) != np.sign(after)).any(1)
    return points[kept] - 0.5
