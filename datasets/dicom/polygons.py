"""Fill polygons on a lattice: which points lie inside of one, and of several in one plane.

A lattice point on an edge follows a half-open rule: it belongs to the region below and to the right
of the edge. Regions that share an edge share no point and leave no gap, and the number of points is
an unbiased measure of the area. Tools that trace the outermost voxels of a mask through their
centres (rt-utils, OpenCV) mean another rule: all points on an edge are inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import ndimage

_SNAP = 1e-3
"""Corners this near to a lattice point, in voxels, lie on it: coordinates are stored rounded."""
_THIN = 0.5
"""Outlines that lie this near to each other all along, in voxels, are one outline drawn twice."""
_TOUCH = 0.1
"""An inner outline may touch the outer one, or cross it by so much, in voxels."""

Box = tuple[slice, slice]
EdgeRule = Literal["half-open", "inside"]


@dataclass(frozen=True)
class Filled:
    """The points inside of several outlines, and what was done where these overlap.

    Attributes:
        inside: bool `[H, W]`.
        removed: Points inside of an outline that are not inside of the region: holes, and what an
            exclusive or leaves out.
        traced: Whether every corner is a lattice point.
        repeated: Outlines that repeat another and were left out.
        united: Outlines that cross another and were united with it.
    """

    inside: np.ndarray
    removed: int
    traced: bool
    repeated: int = 0
    united: int = 0


@dataclass(frozen=True, eq=False)
class _Outline:
    """One polygon `[N, 2]` with the box of the lattice that it may fill."""

    corners: np.ndarray
    box: Box
    inside: np.ndarray
    removed: int

    @cached_property
    def ends(self) -> np.ndarray:
        """The smallest and the largest row and column, `[2, 2]`."""
        return np.stack([self.corners.min(0), self.corners.max(0)])


def fill_polygons(
    polygons: Sequence[np.ndarray],
    shape: tuple[int, int],
    exclusive_or: bool = False,
    edge: EdgeRule = "half-open",
) -> Filled:
    """Return which lattice points lie in the region that outlines of one plane describe.

    An outline inside of another is a hole, one inside of a hole is an island. Outlines that cross
    are united. An outline that repeats another (within half a voxel all along) counts once. One
    that touches itself is a keyhole: what it winds around twice is a hole if the outline encloses
    it, and belongs to the region if it reaches the border.

    Args:
        polygons: Corners `[N, 2]` as (row, column); the last joins the first. Lattice points have
            whole numbers.
        shape: Rows and columns of the result.
        exclusive_or: Whether outlines that cross lose what they have in common, as DICOM defines
            for `CLOSEDPLANAR_XOR`.
        edge: Rule for lattice points exactly on an edge.
    """
    outlines = [_filled(polygon, shape, edge) for polygon in polygons]
    drawn = [one for one in outlines if one.inside.any()]
    kept = _without_repeats(drawn)
    repeated = len(drawn) - len(kept)
    every, removed = np.zeros(shape, bool), sum(outline.removed for outline in kept)
    for outline in kept:
        every[outline.box] |= outline.inside
    inside, united = every.copy(), 0
    if _any_overlap(kept):
        if exclusive_or:
            inside[:] = False
            for outline in kept:
                inside[outline.box] ^= outline.inside
        else:
            within = _within(kept)
            united, inside = _crossing(kept, within), _nested(kept, within, shape)
        removed += int(every.sum() - inside.sum())
    if edge == "inside":
        for outline in kept:
            rows, columns = _on_edges(outline.corners, shape)
            inside[rows, columns] = True
    traced = all(bool((one.corners == np.floor(one.corners)).all()) for one in outlines)
    return Filled(inside, removed, traced, repeated, united)


def _filled(polygon: np.ndarray, shape: tuple[int, int], edge: EdgeRule) -> _Outline:
    """Return one outline by the number of its windings around each lattice point."""
    nearest = np.floor(polygon + 0.5)
    corners = np.where(np.abs(polygon - nearest) < _SNAP, nearest, polygon)
    low = np.clip(np.ceil(corners.min(0)), 0, shape).astype(int)
    high = np.maximum(np.clip(np.floor(corners.max(0)) + 1, 0, shape).astype(int), low)
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    winding = _winding(corners - low, (int(high[0] - low[0]), int(high[1] - low[1])))
    inside = winding % 2 == 1
    twice = (winding != 0) & ~inside
    if twice.any():
        # What reaches the border is drawn over once more; what is enclosed is a hole.
        parts, _ = ndimage.label(np.pad(twice, 1))  # pyright: ignore[reportGeneralTypeIssues]
        border = ndimage.binary_dilation(np.pad(winding == 0, 1, constant_values=True))
        reached = np.setdiff1d(parts[np.asarray(border, bool)], [0])
        over = np.isin(parts, reached)[1:-1, 1:-1]
        inside, twice = inside | (twice & over), twice & ~over
    if edge == "inside":
        rows, columns = _on_edges(corners, shape)
        inside[rows - low[0], columns - low[1]] = True
    return _Outline(corners, box, inside, int(twice.sum()))


def _on_edges(corners: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the lattice points that lie on the edges of a polygon."""
    start, end = corners, np.roll(corners, -1, 0)
    # Row by row where an edge is steep, column by column where it is flat.
    flat = np.abs(end - start)[:, 0] < np.abs(end - start)[:, 1]
    found = [corners]
    for axis, edges in ((0, ~flat), (1, flat)):
        low = np.minimum(start[edges, axis], end[edges, axis])
        count = np.floor(np.maximum(start[edges, axis], end[edges, axis])) - np.ceil(low) + 1
        count = np.maximum(count, 0).astype(int)
        which = np.repeat(np.flatnonzero(edges), count)
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        place = step + np.repeat(np.ceil(low), count)
        rise = end[which, axis] - start[which, axis]
        share = (place - start[which, axis]) / np.where(rise == 0, 1, rise)
        points = start[which] + share[:, None] * (end[which] - start[which])
        points[:, axis] = place
        found.append(points)
    points = np.concatenate(found)
    nearest = np.floor(points + 0.5)
    on = (np.abs(points - nearest) < 1e-6).all(1)
    on &= ((nearest >= 0) & (nearest < shape)).all(1)
    rows, columns = nearest[on].astype(int).T
    return rows, columns


def _winding(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return how many times a polygon goes around each lattice point, with sign."""
    rows, columns = shape
    turns = np.zeros((rows, columns + 1), np.int32)
    start, end = corners, np.roll(corners, -1, 0)
    swap = start[:, 0] > end[:, 0]
    low, high = np.where(swap[:, None], end, start), np.where(swap[:, None], start, end)
    # Half open, so that a row through a corner crosses once.
    first = np.clip(np.ceil(low[:, 0]), 0, rows).astype(int)
    count = np.clip(np.ceil(high[:, 0]), 0, rows).astype(int) - first
    which = np.repeat(np.arange(len(corners)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[which]
    rise = high[which, 0] - low[which, 0]
    share = (row - low[which, 0]) / rise
    x = low[which, 1] + share * (high[which, 1] - low[which, 1])
    nearest = np.floor(x + 0.5)
    x = np.where(np.abs(x - nearest) < 1e-6, nearest, x)
    place = np.clip(np.ceil(x), 0, columns).astype(int)
    np.add.at(turns, (row, place), np.where(swap[which], -1, 1))
    return np.cumsum(turns[:, :-1], 1)


def _without_repeats(outlines: Sequence[_Outline]) -> list[_Outline]:
    kept: list[_Outline] = []
    for outline in outlines:
        if not any(_repeats(outline, other) for other in kept):
            kept.append(outline)
    return kept


def _repeats(one: _Outline, other: _Outline) -> bool:
    """Say whether two outlines are nowhere further apart than `_THIN`."""
    if np.abs(one.ends - other.ends).max() > _THIN:
        return False
    pairs = ((one.corners, other.corners), (other.corners, one.corners))
    return all(_distance(a, b).max() <= _THIN for a, b in pairs)


def _distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return the distance `[M]` of points `[M, 2]` from the edges of a polygon."""
    start, step = polygon, np.roll(polygon, -1, 0) - polygon
    length = np.maximum((step**2).sum(1), 1e-12)
    nearest = np.full(len(points), np.inf)
    for first in range(0, len(start), 256):
        part = slice(first, first + 256)
        away = points[:, None] - start[part]
        along = np.clip((away * step[part]).sum(-1) / length[part], 0, 1)
        apart = away - along[..., None] * step[part]
        nearest = np.minimum(nearest, np.sqrt((apart**2).sum(-1)).min(1))
    return nearest


def _contains(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return which points `[M, 2]` lie inside of a polygon, by the parity of crossings."""
    start, end = polygon, np.roll(polygon, -1, 0)
    rise = end[:, 0] - start[:, 0]
    slope = (end[:, 1] - start[:, 1]) / np.where(rise == 0, 1, rise)
    crossings = np.zeros(len(points), int)
    for first in range(0, len(points), 256):
        part = slice(first, first + 256)
        row, column = points[part, :1], points[part, 1:]
        between = (start[:, 0] > row) != (end[:, 0] > row)
        at = start[:, 1] + (row - start[:, 0]) * slope
        crossings[part] = (between & (column < at)).sum(1)
    return crossings % 2 == 1


def _common(one: _Outline, other: _Outline) -> Box | None:
    """Return the box that two outlines have in common, if there is one."""
    sides = []
    for a, b in zip(one.box, other.box, strict=True):
        side = slice(max(a.start, b.start), min(a.stop, b.stop))
        if side.start >= side.stop:
            return None
        sides.append(side)
    return sides[0], sides[1]


def _part(outline: _Outline, box: Box) -> np.ndarray:
    rows, columns = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outline.box, strict=True)
    )
    return outline.inside[rows, columns]


def _overlap(one: _Outline, other: _Outline) -> bool:
    box = _common(one, other)
    return box is not None and bool((_part(one, box) & _part(other, box)).any())


def _any_overlap(outlines: Sequence[_Outline]) -> bool:
    return any(
        _overlap(one, other) for i, one in enumerate(outlines) for other in outlines[i + 1 :]
    )


def _within(outlines: Sequence[_Outline]) -> np.ndarray:
    """Return booleans `[N, N]`: outline i lies inside of outline j."""
    count = len(outlines)
    found = np.zeros((count, count), bool)
    for i, j in np.ndindex(count, count):
        found[i, j] = i != j and _lies_in(outlines[i], outlines[j])
    # Two with the same points are no holes of each other.
    return found & ~found.T


def _lies_in(inner: _Outline, outer: _Outline) -> bool:
    box = _common(inner, outer)
    if box is None or box != inner.box or (_part(inner, box) & ~_part(outer, box)).any():
        return False
    out = inner.corners[~_contains(outer.corners, inner.corners)]
    return not len(out) or bool(_distance(out, outer.corners).max() <= _TOUCH)


def _crossing(outlines: Sequence[_Outline], within: np.ndarray) -> int:
    """Return how many outlines overlap one that they neither lie in nor enclose."""
    crossing = np.zeros(len(outlines), bool)
    for i, one in enumerate(outlines):
        for j in range(i + 1, len(outlines)):
            if not (within[i, j] or within[j, i]) and _overlap(one, outlines[j]):
                crossing[[i, j]] = True
    return int(crossing.sum())


def _nested(outlines: Sequence[_Outline], within: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the union of the outermost outlines, each without what lies right inside of it."""

    def region(index: int) -> np.ndarray:
        inside = np.zeros(shape, bool)
        inside[outlines[index].box] = outlines[index].inside
        inner = np.flatnonzero(within[:, index])
        direct = [i for i in inner if not (within[i] & within[:, index]).any()]
        for child in direct:
            inside &= ~region(int(child))
        return inside

    found = np.zeros(shape, bool)
    for index in np.flatnonzero(~within.any(1)):
        found |= region(int(index))
    return found
