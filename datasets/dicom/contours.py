"""Fill the closed contours of an RTSTRUCT: a voxel belongs to a region if its centre does.

DICOM PS3.3 C.8.8.6. Contours of one region in one plane are combined by exclusive or, so that inner
contours are holes; keyholes come out right by the even-odd rule. A centre exactly on a contour
counts as inside, as tools that draw contours through the outermost voxels expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from hilum.core.errors import DataError
from hilum.core.geometry import Grid

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_ON_SLICE = 0.05
"""Contours this near to a slice, in slices, lie on it; those of one plane lie as near together."""
_SNAP = 1e-3
"""Corners this near to a voxel's centre, in voxels, lie on it: coordinates are stored rounded."""


def roi_names(dataset: Dataset) -> dict[int, str]:
    """Return the name of each region by its number."""
    items = dataset.get("StructureSetROISequence") or []
    return {int(item.ROINumber): str(item.get("ROIName") or "").strip() for item in items}


def read_contours(
    dataset: Dataset,
    numbers: Sequence[int],
    grid: Grid,
    notes: list[str],
    *,
    file: Path | None = None,
    case: str | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and mask, bool `[D, H, W]` on `grid`, of each region.

    Args:
        dataset: The RTSTRUCT.
        numbers: Regions wanted.
        grid: Of the scan that was contoured; may be oblique, slices along any axis.
        notes: Gets one line for all that was not as it should be: contours that are points, lie
            between slices (the nearest slice takes them) or reach beyond the scan's edge.
        file: For messages.
        case: For messages.

    Raises:
        DataError: If a contour lies across the slices, or more than half a slice away from all of
            them, or is damaged.
    """
    names, items = roi_names(dataset), dataset.get("ROIContourSequence") or []
    for number in numbers:
        contours = [
            contour
            for item in items
            if int(item.ReferencedROINumber) == number
            for contour in item.get("ContourSequence") or []
        ]
        name = repr(names.get(number, str(number)))
        closed = [c for c in contours if str(c.get("ContourGeometricType", "")) in _CLOSED]
        if len(closed) < len(contours):
            notes.append(f"{name}: {len(contours) - len(closed)} contours are points or open lines")
        polygons = [grid.to_index(contour_points(c, name, file, case)) for c in closed]
        yield number, _fill(polygons, grid, name, notes, (file, case))


def contour_points(
    contour: Dataset, name: str, file: Path | None = None, case: str | None = None
) -> np.ndarray:
    """Return the corners of a contour, `[N, 3]` in RAS mm."""
    try:
        values = np.array(contour.get("ContourData") or [], float)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not values.size or values.size % 3 or not np.isfinite(values).all():
        raise DataError(
            f"contours of {name} must hold x, y, z of each corner",
            case=case,
            file=file,
            found=f"{values.size} values",
            remedy="export the RTSTRUCT again",
        )
    return values.reshape(-1, 3) * (-1, -1, 1)


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return which lattice points lie in an odd number of polygons, or on an edge.

    Args:
        polygons: Corners `[N, 2]` as (row, column); the last joins the first. A centre of a pixel
            has whole numbers.
        shape: Rows and columns of the result.
    """
    toggles = np.zeros((shape[0], shape[1] + 1), np.int32)
    edge = np.zeros(shape, bool)
    for polygon in polygons:
        nearest = np.round(polygon)
        corners = np.where(np.abs(polygon - nearest) < _SNAP, nearest, polygon)
        _cross(corners, toggles, edge)
    return (np.cumsum(toggles[:, :-1], 1) % 2 == 1) | edge


def _cross(corners: np.ndarray, toggles: np.ndarray, edge: np.ndarray) -> None:
    """Count in `toggles` where rows cross the polygon, and mark the centres on its edges."""
    rows, columns = edge.shape
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
    exact = np.abs(x - np.round(x)) < 1e-6
    x[exact] = np.round(x[exact])
    np.add.at(toggles, (row, np.clip(np.ceil(x), 0, columns).astype(int)), 1)
    _mark(edge, row[exact], x[exact])
    _mark(edge, corners[:, 0], corners[:, 1])
    flat = (low[:, 0] == high[:, 0]) & (low[:, 0] == np.round(low[:, 0]))
    for (at, one), (_, other) in zip(low[flat], high[flat], strict=True):
        between = np.arange(np.ceil(min(one, other)), np.floor(max(one, other)) + 1)
        _mark(edge, np.full(between.shape, at), between)


def _mark(edge: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    inside = (row >= 0) & (row < edge.shape[0]) & (column >= 0) & (column < edge.shape[1])
    whole = inside & (row == np.round(row)) & (column == np.round(column))
    edge[row[whole].astype(int), column[whole].astype(int)] = True


def _fill(
    polygons: list[np.ndarray],
    grid: Grid,
    name: str,
    notes: list[str],
    where: tuple[Path | None, str | None],
) -> np.ndarray:
    """Return the mask of one region from its corners in indices of the grid."""
    mask = np.zeros(grid.shape, bool)
    if not polygons:
        notes.append(f"{name}: no closed contours")
        return mask
    axis = int(np.argmin(np.sum([np.ptp(p, 0) for p in polygons], 0)))
    flat = [p for p in polygons if np.ptp(p[:, axis]) <= 0.5]
    depth = np.array([p[:, axis].mean() for p in flat])
    lost = [p for p in polygons if np.ptp(p[:, axis]) > 0.5]
    lost += [p for p, d in zip(flat, depth, strict=True) if not -0.5 <= d < grid.shape[axis] - 0.5]
    if lost:
        x, y, z = grid.to_world(lost[0][0]) * (-1, -1, 1)
        raise DataError(
            f"contours of {name} must lie on slices of their scan",
            case=where[1],
            file=where[0],
            found=f"{_doubts(len(polygons), len(flat), len(lost))}, the first at "
            f"({x:.2f}, {y:.2f}, {z:.2f})",
            remedy="import the scan that was contoured, with all of its slices",
        )
    planes = np.moveaxis(mask, axis, 0)
    others = [a for a in range(3) if a != axis]
    kept = [(d, p[:, others]) for d, p in zip(depth, flat, strict=True)]
    for index, group in _planes(kept, name, notes).items():
        planes[index] = fill_polygons(group, (planes.shape[1], planes.shape[2]))
    _note_outside([p for _, p in kept], (planes.shape[1], planes.shape[2]), name, notes)
    return mask


def _doubts(total: int, flat: int, lost: int) -> str:
    parts = [f"{total - flat} contours across the slices"] if flat < total else []
    outside = lost - (total - flat)
    parts += [f"{outside} contours outside of the scan"] if outside else []
    return f"{' and '.join(parts)}, of {total}"


def _planes(
    contours: list[tuple[float, np.ndarray]], name: str, notes: list[str]
) -> dict[int, list[np.ndarray]]:
    """Return the contours of each slice; of several planes near one slice, the nearest is taken."""
    contours.sort(key=lambda item: item[0])
    groups: list[list[tuple[float, np.ndarray]]] = []
    for item in contours:
        if groups and item[0] - groups[-1][-1][0] < _ON_SLICE:
            groups[-1].append(item)
        else:
            groups.append([item])
    chosen: dict[int, tuple[float, list[np.ndarray]]] = {}
    between = 0
    for group in groups:
        depth = float(np.mean([d for d, _ in group]))
        index = round(depth)
        away = abs(depth - index)
        between += away > _ON_SLICE
        if index not in chosen or away < chosen[index][0]:
            chosen[index] = (away, [polygon for _, polygon in group])
    if between:
        notes.append(f"{name}: {between} of {len(groups)} contoured planes lie between slices")
    if len(chosen) < len(groups):
        notes.append(f"{name}: {len(groups) - len(chosen)} planes share a slice with a nearer one")
    gaps = np.diff(sorted(chosen))
    if len(gaps) and gaps.min() > 1:
        notes.append(f"{name}: no two neighbouring slices are contoured; gaps stay empty")
    return {index: polygons for index, (_, polygons) in chosen.items()}


def _note_outside(
    polygons: list[np.ndarray], shape: tuple[int, int], name: str, notes: list[str]
) -> None:
    limit = np.array(shape) - 0.5
    if any(
        (polygon < -0.5 - _SNAP).any() or (polygon > limit + _SNAP).any() for polygon in polygons
    ):
        notes.append(f"{name}: reaches beyond the edge of the scan and is cut there")
