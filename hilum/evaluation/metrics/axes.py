"""Long and short axis of a node, as RECIST 1.1 defines them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform

TIE = 1e-6
"""Share of a length within which two are equally long: rounding decides nothing."""

_TURNS = np.arange(8) * math.pi / 8
DIRECTIONS = np.stack([np.cos(_TURNS), np.sin(_TURNS)])
"""Eight directions of the plane, `[2, 8]`; every other lies within pi / 16 of one."""

_SIDES = np.array([[0, 0.5], [1, 0.5], [0.5, 0], [0.5, 1]])
"""Middles of the top, bottom, left and right side of a cell between four voxel centres."""


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
    found = [(part, _ends(part) * scale) for part in inside if part.any()]
    slices = sorted(((_reach(ends), part) for part, ends in found), key=itemgetter(0), reverse=True)
    best = (0.0, 0.0)
    for reach, part in slices:
        if reach < best[0] * (1 - TIE):
            break  # no further slice is as long
        best = _better(best, _axes_of_slice(outline(part) * scale))
    return best


def outline(part: np.ndarray) -> np.ndarray:
    """Return the outline of a slice `[H, W]` as lines `[N, 2, 2]`: ends, then row and column.

    In units of voxels from the centre of the first. Voxels that share a corner are joined.
    """
    around = np.pad(part, 1)
    a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    crossed = np.stack([a ^ b, c ^ d, a ^ c, b ^ d], -1)
    number = crossed.sum(-1)
    two, four = np.argwhere(number == 2), np.argwhere(number == 4)
    ends = np.nonzero(crossed[tuple(two.T)])[1].reshape(-1, 2)
    lines = [two[:, None] + _SIDES[ends]]
    # Of four sides crossed, lines cut off the corners that lie outside.
    outer = np.where(a[tuple(four.T)][:, None, None], [[0, 3], [1, 2]], [[0, 2], [1, 3]])
    lines.append((four[:, None, None] + _SIDES[outer]).reshape(-1, 2, 2))
    return np.concatenate(lines) - 1


def _ends(part: np.ndarray) -> np.ndarray:
    """Return points that the outline's hull lies in: the ends of each row and column."""
    rows = np.flatnonzero(part.any(1))
    lines = part[rows]
    first, last = lines.argmax(1), lines.shape[1] - 1 - lines[:, ::-1].argmax(1)
    sides = [np.stack([rows, first - 0.5], 1), np.stack([rows, last + 0.5], 1)]
    tops = [np.stack([rows + step, x], 1) for step in (-0.5, 0.5) for x in (first, last)]
    return np.concatenate([*sides, *tops])


def _reach(points: np.ndarray) -> float:
    """Return a length that the diameter cannot exceed, at most 2 % above it."""
    along = points @ DIRECTIONS
    return float((along.max(0) - along.min(0)).max() / math.cos(math.pi / 16) * (1 + 1e-9))


def _axes_of_slice(lines: np.ndarray) -> tuple[float, float]:
    """Return the axes of one slice from its outline in mm, `[N, 2, 2]`."""
    points = lines.reshape(-1, 2)
    hull = points
    with contextlib.suppress(QhullError):
        hull = points[ConvexHull(points).vertices]
    distances = squareform(pdist(hull))
    long_mm = float(distances.max())
    pairs = np.argwhere(np.triu(distances) >= long_mm * (1 - TIE))
    along = hull[pairs[:, 1]] - hull[pairs[:, 0]]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    # A diameter and its reverse are one, and so are parallel ones.
    along = along * np.where(along[:, :1] + 1e-9 * along[:, 1:] < 0, -1, 1)
    angle = np.round(np.arctan2(along[:, 1], along[:, 0]), 9)
    _, first = np.unique(angle, return_index=True)
    return long_mm, max(_width(lines, along[index]) for index in first)


def _width(lines: np.ndarray, direction: np.ndarray) -> float:
    """Return the longest diameter at right angles to a direction.

    How far the outline reaches to both sides changes linearly between its corners, so that one of
    them is where it is widest.
    """
    start, end = np.sort(lines @ direction, axis=1).T
    order = np.argsort(lines @ direction, axis=1)
    side = np.take_along_axis(lines @ np.array([-direction[1], direction[0]]), order, 1)
    places = np.unique(np.concatenate([start, end]))
    best = 0.0
    slack = TIE * float(places[-1] - places[0])
    length = np.maximum(end - start, slack)
    # At so many places at a time that memory stays small.
    for first in range(0, len(places), 256):
        at = places[first : first + 256, None]
        hit = (at >= start - slack) & (at <= end + slack)
        share = np.clip((at - start) / length, 0, 1)
        value = side[:, 0] + share * (side[:, 1] - side[:, 0])
        high = np.where(hit, value, -np.inf).max(1)
        low = np.where(hit, value, np.inf).min(1)
        best = max(best, float((high - low).max()))
    # A line along the place itself has two values there.
    flat = end - start <= slack
    if flat.any():
        best = max(best, float(np.abs(side[flat, 1] - side[flat, 0]).max()))
    return best


def _better(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the longer pair; of two as long, the wider."""
    if abs(one[0] - other[0]) <= TIE * max(one[0], other[0]):
        return max(one[0], other[0]), max(one[1], other[1])
    return max(one, other)
