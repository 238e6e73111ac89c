"""Fill the closed contours of an RTSTRUCT: a voxel belongs to a region if its centre does.

DICOM PS3.3 C.8.8.6. Contours of one region in one plane are combined as `polygons.fill_polygons`
says: inner contours and keyholes are holes, contours drawn twice count once, contours that cross
are united (`CLOSEDPLANAR_XOR`: by exclusive or, as the standard defines it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from hilum.core.errors import DataError
from hilum.core.geometry import Grid, nearest_index
from hilum.core.notes import Note

from .polygons import EdgeRule, Filled, fill_polygons

_XOR = "CLOSEDPLANAR_XOR"
_CLOSED = ("CLOSED_PLANAR", _XOR)
_ON_SLICE = 0.05
"""Contours this near to a slice, in slices, lie on it; those of one plane lie as near together."""
_REGULAR = 0.1
"""Planes that are this near to slices, but for one shift that all share, keep their distances."""
_EDGE = 1e-3
"""In voxels: contours this far beyond the scan's edge lie on it."""
_GRAVE = 0.5
"""Part of a region that exclusive or may remove before it is a warning."""


def roi_names(dataset: Dataset) -> dict[int, str]:
    """Return the name of each region by its number."""
    items = dataset.get("StructureSetROISequence") or []
    return {int(item.ROINumber): str(item.get("ROIName") or "").strip() for item in items}


def read_contours(
    dataset: Dataset,
    numbers: Sequence[int],
    grid: Grid,
    notes: list[Note],
    *,
    file: Path | None = None,
    case: str | None = None,
    edge: EdgeRule = "half-open",
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and mask, bool `[D, H, W]` on `grid`, of each region.

    Args:
        dataset: The RTSTRUCT.
        numbers: Regions wanted.
        grid: Of the scan that was contoured; may be oblique, slices along any axis.
        notes: Gets one for all that was not as it should be: contours that are points, lie between
            slices (the nearest takes them, halves go up), repeat or cross others, make holes, or
            reach beyond the scan's edge.
        file: For messages.
        case: For messages.
        edge: Rule for voxel centres exactly on a contour.

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
            text = f"{name}: {len(contours) - len(closed)} contours are points or open lines"
            notes.append(Note("warning", "contours without an area", text))
        polygons = [grid.to_index(contour_points(c, name, file, case)) for c in closed]
        exclusive = any(str(c.ContourGeometricType) == _XOR for c in closed)
        yield number, _fill(polygons, grid, name, notes, (exclusive, edge), (file, case))


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


def _fill(
    polygons: list[np.ndarray],
    grid: Grid,
    name: str,
    notes: list[Note],
    how: tuple[bool, EdgeRule],
    where: tuple[Path | None, str | None],
) -> np.ndarray:
    """Return the mask of one region from its corners in indices of the grid."""
    mask = np.zeros(grid.shape, bool)
    if not polygons:
        notes.append(Note("warning", "regions without contours", f"{name}: no closed contours"))
        return mask
    axis = int(np.argmin(np.sum([np.ptp(p, 0) for p in polygons], 0)))
    flat = [p for p in polygons if np.ptp(p[:, axis]) <= 0.5]
    depth = np.array([p[:, axis].mean() for p in flat])
    slices = slices_of(depth)
    lost = [p for p in polygons if np.ptp(p[:, axis]) > 0.5]
    lost += [p for p, i in zip(flat, slices, strict=True) if not 0 <= i < grid.shape[axis]]
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
    kept = [_Contour(d, int(i), p[:, others]) for d, i, p in zip(depth, slices, flat, strict=True)]
    filled = []
    for index, group in _planes(kept, name, grid.spacing[axis], notes).items():
        filled.append(fill_polygons(group, (planes.shape[1], planes.shape[2]), *how))
        planes[index] = filled[-1].inside
    _note_overlaps(filled, grid.voxel_ml, name, notes)
    if how[1] == "half-open" and all(one.traced for one in filled):
        text = f"{name}: every corner is the centre of a voxel; if a tool traced the outermost"
        text += " voxels so (rt-utils, OpenCV), edge=inside counts them all"
        notes.append(Note("warning", "contours through voxel centres", text))
    _note_outside([one.corners for one in kept], (planes.shape[1], planes.shape[2]), name, notes)
    return mask


def slices_of(depth: np.ndarray) -> np.ndarray:
    """Return the slice of each plane, from its place in slices.

    Planes as far apart as slices are keep their distances: if they lie next to the slices by one
    common shift, it is rounded once for all, so that noise in the coordinates neither doubles a
    slice nor leaves one out. Others take the nearest slice each. Halves go up.
    """
    if not len(depth):
        return np.zeros(0, np.int64)
    # The shift on a circle, since -0.5 is as 0.5.
    turn = np.exp(2j * np.pi * depth)
    mean = turn.mean()
    if abs(mean) > 0.5:
        off = np.angle(turn / mean) / (2 * np.pi)
        if np.abs(off).max() < _REGULAR:
            shift = float(np.angle(mean)) / (2 * np.pi)
            return nearest_index(depth - off - shift) + nearest_index(shift)
    return nearest_index(depth)


def _doubts(total: int, flat: int, lost: int) -> str:
    parts = [f"{total - flat} contours across the slices"] if flat < total else []
    outside = lost - (total - flat)
    parts += [f"{outside} contours outside of the scan"] if outside else []
    return f"{' and '.join(parts)}, of {total}"


class _Contour(NamedTuple):
    """One contour: its place in slices, the slice that takes it, and its corners there."""

    depth: float
    slice: int
    corners: np.ndarray


def _planes(
    contours: list[_Contour], name: str, spacing: float, notes: list[Note]
) -> dict[int, list[np.ndarray]]:
    """Return the contours of each slice; of several planes near one slice, the nearest is taken."""
    contours.sort(key=lambda one: one.depth)
    groups: list[list[_Contour]] = []
    for one in contours:
        if groups and one.depth - groups[-1][-1].depth < _ON_SLICE:
            groups[-1].append(one)
        else:
            groups.append([one])
    chosen: dict[int, tuple[float, list[np.ndarray]]] = {}
    between = []
    for group in groups:
        depth = float(np.mean([one.depth for one in group]))
        index = group[0].slice
        away = abs(depth - index)
        between += [away] if away > _ON_SLICE else []
        if index not in chosen or away < chosen[index][0]:
            chosen[index] = (away, [one.corners for one in group])
    if between:
        text = f"{name}: {len(between)} of {len(groups)} contoured planes lie between slices, up to"
        text += f" {max(between) * spacing:.2f} mm off; the nearest slice takes them"
        notes.append(Note("warning", "contours between slices", text))
    if len(chosen) < len(groups):
        text = f"{name}: {len(groups) - len(chosen)} planes share a slice with a nearer one"
        notes.append(Note("warning", "contours closer than the slices", f"{text}; left out"))
    gaps = np.diff(sorted(chosen))
    if len(gaps) and gaps.min() > 1:
        text = f"{name}: no two neighbouring slices are contoured; gaps stay empty"
        notes.append(Note("warning", "contours with gaps", text))
    return {index: polygons for index, (_, polygons) in chosen.items()}


def _note_overlaps(filled: Sequence[Filled], voxel_ml: float, name: str, notes: list[Note]) -> None:
    """Note contours drawn twice, contours that cross, and what holes take from a region."""
    repeated = sum(one.repeated for one in filled)
    if repeated:
        text = f"{name}: {repeated} contours repeat another of their slice and count once"
        notes.append(Note("warning", "contours drawn twice", text))
    united = sum(one.united for one in filled)
    if united:
        text = f"{name}: {united} contours cross another of their slice and are united with it"
        notes.append(Note("warning", "contours that cross", text))
    removed = sum(one.removed for one in filled)
    if removed:
        kept = sum(int(one.inside.sum()) for one in filled)
        share = removed / max(kept + removed, 1)
        slices = sum(one.removed > 0 for one in filled)
        text = f"{name}: contours inside of others remove {removed * voxel_ml:.3g} ml ({share:.0%})"
        severity = "warning" if share > _GRAVE else "info"
        notes.append(Note(severity, "holes in regions", f"{text} in {slices} slices"))


def _note_outside(
    polygons: list[np.ndarray], shape: tuple[int, int], name: str, notes: list[Note]
) -> None:
    limit = np.array(shape) - 0.5
    if any(
        (polygon < -0.5 - _EDGE).any() or (polygon > limit + _EDGE).any() for polygon in polygons
    ):
        text = f"{name}: reaches beyond the edge of the scan and is cut there"
        notes.append(Note("warning", "regions cut at the edge of the scan", text))
