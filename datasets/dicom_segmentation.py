"""Read the segments of a DICOM SEG onto the grid of a scan: binary, fractional or label map.

DICOM PS3.3 A.51 and C.8.20. Frames are matched to slices by their place, never by their order:
writers drop empty frames and sort as they like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from ..core.errors import DataError
from ..core.geometry import Grid
from .resampling import resample

_ALIGNED = 0.25
"""In voxels: a lattice that drifts no further from the scan's is the scan's."""
_GENERIC = re.compile(r"(seg(ment(ation)?)?|region|roi|label|mask)?[\s_-]*\d*", re.IGNORECASE)


@dataclass(frozen=True)
class _Frames:
    """Frames `[F, rows, columns]` and where they lie; lengths in mm, RAS.

    Attributes:
        position: `[F, 3]`, centre of the first pixel.
        row: Step from a row to the next.
        column: Step from a column to the next.
        segment: Number of each frame's segment; -1 where the pixels say it.
        thickness: Distance of neighbouring planes, as far as the file tells it.
    """

    pixels: np.ndarray
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    segment: np.ndarray
    thickness: float


def segment_names(dataset: Dataset) -> dict[int, str]:
    """Return the name of each segment by number: its label, or its type if that says nothing."""
    found = {}
    for item in dataset.get("SegmentSequence") or []:
        label = str(item.get("SegmentLabel") or "").strip()
        types = item.get("SegmentedPropertyTypeCodeSequence") or []
        if _GENERIC.fullmatch(label) and types:
            label = str(types[0].get("CodeMeaning") or label).strip()
        found[int(item.SegmentNumber)] = label
    # A label map lists its background as segment 0.
    found.pop(0, None)
    return found


def read_segments(
    dataset: Dataset,
    numbers: Sequence[int],
    grid: Grid,
    notes: list[str],
    *,
    file: Path | None = None,
    case: str | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and mask, bool `[D, H, W]` on `grid`, of each segment.

    Args:
        dataset: The SEG, with pixels.
        numbers: Segments wanted.
        grid: Of the scan that was segmented; rows, columns and slices may run the other way.
        notes: Gets one line for all that was not as it should be: another grid (the nearest voxel
            is taken), frames outside of the scan.
        file: For messages.
        case: For messages.

    Raises:
        DataError: If the frames cannot be read or placed, or a segment lies outside of the scan.
    """
    try:
        frames = _read(dataset)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            "a DICOM SEG must have whole frames with a place each",
            case=case,
            file=file,
            found=" ".join(str(error).split())[:200],
            remedy="export it again",
        ) from error
    names = segment_names(dataset)
    if str(dataset.SegmentationType) == "FRACTIONAL":
        notes.append("fractional segments: 0.5 and more of the maximum is inside")
    for number in numbers:
        name = repr(names.get(number, str(number)))
        mine = np.flatnonzero(frames.segment == number)
        if str(dataset.SegmentationType) == "LABELMAP":
            mine = np.flatnonzero((frames.pixels == number).any((1, 2)))
        yield number, _place(frames, mine, number, grid, name, notes, (file, case))


def frame_positions(dataset: Dataset) -> np.ndarray:
    """Return the centre of the first pixel of each frame, `[F, 3]` in RAS mm."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    return np.array(places, float).reshape(-1, 3) * (-1, -1, 1)


def _read(dataset: Dataset) -> _Frames:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    turns = [_group(g, shared, "PlaneOrientationSequence").ImageOrientationPatient for g in groups]
    measures = [_group(g, shared, "PixelMeasuresSequence") for g in groups]
    turn, spacing = np.array(turns, float), np.array([m.PixelSpacing for m in measures], float)
    if np.ptp(turn, 0).max() > 1e-4 or np.ptp(spacing, 0).max() > 1e-4:
        raise ValueError("frames of different orientation or spacing")
    pixels = dataset.pixel_array
    pixels = pixels.reshape(len(groups), dataset.Rows, dataset.Columns)
    kind = str(dataset.SegmentationType)
    if kind == "FRACTIONAL":
        pixels = pixels >= 0.5 * float(dataset.MaximumFractionalValue)
    segment = [-1] * len(groups)
    if kind != "LABELMAP":
        key = "SegmentIdentificationSequence"
        segment = [int(_group(g, shared, key).ReferencedSegmentNumber) for g in groups]
    flip = np.array([-1, -1, 1])
    thickness = measures[0].get("SpacingBetweenSlices") or measures[0].get("SliceThickness") or 0
    return _Frames(
        pixels,
        frame_positions(dataset),
        turn[0, 3:] * flip * spacing[0, 0],
        turn[0, :3] * flip * spacing[0, 1],
        np.array(segment),
        float(thickness),
    )


def _group(frame: Dataset, shared: Dataset, keyword: str) -> Dataset:
    found = frame.get(keyword) or shared.get(keyword)
    if not found:
        raise KeyError(f"no {keyword}")
    return found[0]


def _place(
    frames: _Frames,
    mine: np.ndarray,
    number: int,
    grid: Grid,
    name: str,
    notes: list[str],
    where: tuple[Path | None, str | None],
) -> np.ndarray:
    """Return the mask of one segment: its frames put on slices, or resampled if they do not fit."""
    if not len(mine):
        notes.append(f"{name}: no frames")
        return np.zeros(grid.shape, bool)
    pixels = frames.pixels[mine]
    pixels = pixels == number if frames.segment[mine[0]] < 0 else pixels > 0
    axes = _axes(frames, mine, grid)
    if axes is None:
        mask = _resampled(frames, pixels, frames.position[mine], grid, name, where)
        notes.append(f"{name}: drawn on another grid; each voxel takes the nearest")
        lost = 0.0 if mask.any() else 1.0
    else:
        mask, lost = _pasted(frames, pixels, frames.position[mine], grid, axes)
    if lost and not mask.any():
        raise DataError(
            f"the segment {name} must lie in its scan",
            case=where[1],
            file=where[0],
            found="all of it outside",
            remedy="import the scan that was segmented, with all of its slices",
        )
    if lost:
        notes.append(f"{name}: {lost:.1%} of its voxels lie outside of the scan; left out")
    return mask


def _axes(frames: _Frames, mine: np.ndarray, grid: Grid) -> tuple[int, int, int] | None:
    """Return the grid's axes along slices, rows and columns; `None` if the lattices differ."""
    inverse = np.linalg.inv(grid.affine[:3, :3])
    steps = np.stack([inverse @ frames.row, inverse @ frames.column])
    axes = np.argmax(np.abs(steps), 1)
    if axes[0] == axes[1]:
        return None
    size = np.array(frames.pixels.shape[1:])[:, None]
    whole = np.zeros((2, 3))
    whole[[0, 1], axes] = np.sign(steps[[0, 1], axes])
    depth = 3 - int(axes.sum())
    index = grid.to_index(frames.position[mine])
    apart = np.abs(index - np.round(index))[:, axes]
    near = np.abs((steps - whole) * (size - 1)).max() < _ALIGNED and apart.max() < _ALIGNED
    if not near or _other_slices(index[:, depth], frames.thickness, grid.spacing[depth]):
        return None
    return depth, int(axes[0]), int(axes[1])


def _other_slices(depth: np.ndarray, thickness: float, spacing: float) -> bool:
    """Say whether planes are closer together, or further apart, than the scan's slices."""
    places = np.unique(np.round(depth, 2))
    gaps = np.diff(places)
    if (gaps < 0.75).any():
        return True
    sparse = not len(gaps) or gaps.min() > 1.5
    return bool(sparse and thickness > 1.5 * spacing)


def _pasted(
    frames: _Frames,
    pixels: np.ndarray,
    position: np.ndarray,
    grid: Grid,
    axes: tuple[int, int, int],
) -> tuple[np.ndarray, float]:
    """Return the mask, and the share of marked pixels that lie outside of the grid."""
    mask = np.zeros(grid.shape, bool)
    view = mask.transpose(axes)
    inverse = np.linalg.inv(grid.affine[:3, :3])
    # A slice takes what lies within half of its thickness.
    index = np.round(grid.to_index(position)[:, axes]).astype(int)
    flips = [
        bool((inverse @ step)[axis] < 0)
        for step, axis in zip((frames.row, frames.column), axes[1:], strict=True)
    ]
    kept = 0
    for (depth, row, column), frame in zip(index, pixels, strict=True):
        turned = frame[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
        start = np.array([row, column]) - np.array(flips) * (np.array(frame.shape) - 1)
        low = np.maximum(start, 0)
        high = np.minimum(start + frame.shape, view.shape[1:])
        if not 0 <= depth < view.shape[0] or (high <= low).any():
            continue
        (a, b), (c, d) = low, high
        part = turned[a - start[0] : c - start[0], b - start[1] : d - start[1]]
        view[depth, a:c, b:d] |= part
        kept += int(part.sum())
    total = int(pixels.sum())
    return mask, 1 - kept / total if total else 0.0


def _resampled(
    frames: _Frames,
    pixels: np.ndarray,
    position: np.ndarray,
    grid: Grid,
    name: str,
    where: tuple[Path | None, str | None],
) -> np.ndarray:
    """Return the mask by way of the grid that the frames themselves lie on."""
    normal = np.cross(frames.row, frames.column)
    normal /= np.linalg.norm(normal)
    # On the side of growing depth, so that the first plane is the lowest.
    along = position @ normal
    gaps = np.diff(np.unique(np.round(along, 3)))
    gaps = gaps[gaps > 0.01]
    step = float(gaps.min()) if len(gaps) else frames.thickness or 1.0
    place = (along - along.min()) / step
    shift = position - position[along.argmin()] - np.outer(along - along.min(), normal)
    if np.abs(place - np.round(place)).max() > 0.1 or np.abs(shift).max() > 0.1:
        raise DataError(
            f"frames of {name} must be evenly spaced where they are not on the scan's slices",
            case=where[1],
            file=where[0],
            found=f"steps from {step:.3f} to {gaps.max():.3f} mm"
            if len(gaps)
            else "shifted frames",
            remedy="export the segmentation on the grid of the scan",
        )
    slices = np.round(place).astype(int)
    block = np.zeros((int(slices.max()) + 1, *pixels.shape[1:]), np.uint8)
    np.maximum.at(block, slices, pixels.astype(np.uint8))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([normal * step, frames.row, frames.column], 1)
    affine[:3, 3] = position[along.argmin()]
    d, h, w = (int(n) for n in block.shape)
    return resample(block, Grid((d, h, w), affine), grid, order=0) > 0
