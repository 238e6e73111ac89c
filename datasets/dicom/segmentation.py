"""Read the segments of a DICOM SEG onto the grid of a scan: binary, fractional or label map.

DICOM PS3.3 A.51 and C.8.20. Frames are matched to slices by their place, never by their order:
writers drop empty frames and sort as they like. Only the frames of wanted segments are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from hilum.core.errors import DataError
from hilum.core.geometry import TOLERANCE_MM, Grid, nearest_index
from hilum.core.notes import Note

from ..io.resampling import resample
from .contours import slices_of
from .segment_frames import Frames, decoded, marked, read_frames

_ALIGNED = 0.25
"""In voxels: a lattice that drifts no further from the scan's is the scan's."""
_ON_SLICE = 0.05
"""In slices: frames this near to a slice lie on it."""
_GENERIC = re.compile(r"(seg(ment(ation)?)?|region|roi|label|mask)?[\s_-]*\d*", re.IGNORECASE)


@dataclass(frozen=True)
class _Segment:
    """The frames of one segment that are not empty, and where messages are about.

    Attributes:
        name: In quotes.
        pixels: bool `[F, rows, columns]`.
        position: `[F, 3]` in RAS mm.
        file: For messages.
        case: For messages.
    """

    name: str
    pixels: np.ndarray
    position: np.ndarray
    file: Path | None
    case: str | None

    def error(self, rule: str, found: str, remedy: str) -> DataError:
        rule = f"the segment {self.name} {rule}"
        return DataError(rule, case=self.case, file=self.file, found=found, remedy=remedy)


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
    notes: list[Note],
    *,
    file: Path | None = None,
    case: str | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and mask, bool `[D, H, W]` on `grid`, of each segment.

    Args:
        dataset: The SEG, with pixels.
        numbers: Segments wanted.
        grid: Of the scan that was segmented; rows, columns and slices may run the other way.
        notes: Gets one for all that was not as it should be: another grid (the nearest voxel
            is taken), frames between slices (the nearest takes them), voxels next to the scan.
        file: For messages.
        case: For messages.

    Raises:
        DataError: If the frames cannot be read or placed, or a marked frame is more than half a
            slice away from all slices of the scan.
    """
    with _readable(file, case):
        frames = read_frames(dataset)
        # The pixels of a label map are of all segments: decode them once.
        labelled = decoded(dataset) if frames.kind == "LABELMAP" else None
        axes = _axes(frames, grid)
    names = segment_names(dataset)
    if frames.kind == "FRACTIONAL":
        text = "fractional segments: 0.5 and more of the maximum is inside"
        notes.append(Note("info", "fractional segments", text))
    for number in numbers:
        with _readable(file, case):
            pixels, position = marked(frames, number, labelled)
        name = repr(names.get(number, str(number)))
        one = _Segment(name, pixels, position, file, case)
        if not len(pixels):
            notes.append(Note("warning", "regions without contours", f"{name}: no frames"))
            yield number, np.zeros(grid.shape, bool)
        elif axes is None:
            yield number, _resampled(frames, one, grid, notes)
        else:
            yield number, _pasted(frames, one, grid, axes, notes)


@contextmanager
def _readable(file: Path | None, case: str | None) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            "a DICOM SEG must have whole frames with a place each",
            case=case,
            file=file,
            found=" ".join(str(error).split())[:200],
            remedy="export it again",
        ) from error


def _axes(frames: Frames, grid: Grid) -> tuple[int, int, int] | None:
    """Return the grid's axes along slices, rows and columns; `None` if the lattices differ."""
    inverse = np.linalg.inv(grid.affine[:3, :3])
    steps = np.stack([inverse @ frames.row, inverse @ frames.column])
    axes = np.argmax(np.abs(steps), 1)
    if axes[0] == axes[1]:
        return None
    size = np.array([[frames.dataset.Rows], [frames.dataset.Columns]])
    whole = np.zeros((2, 3))
    whole[[0, 1], axes] = np.sign(steps[[0, 1], axes])
    depth = 3 - int(axes.sum())
    index = grid.to_index(frames.position)
    apart = np.abs(index - nearest_index(index))[:, axes]
    near = np.abs((steps - whole) * (size - 1)).max() < _ALIGNED and apart.max() < _ALIGNED
    if not near or _other_slices(index[:, depth], frames, grid.spacing[depth]):
        return None
    return depth, int(axes[0]), int(axes[1])


def _other_slices(depth: np.ndarray, frames: Frames, spacing: float) -> bool:
    """Say whether planes are closer together, or further apart, than the scan's slices."""
    places = np.diff(np.sort(depth))
    gaps = places[places > _ON_SLICE]
    # How far from whole slices, wherever the first lies: on a circle, for -0.5 is as 0.5.
    turn = np.exp(2j * np.pi * depth)
    off = np.angle(turn / turn.mean()) / (2 * np.pi) if abs(turn.mean()) > 0.1 else np.ones(1)
    if np.abs(off).max() > _ALIGNED or (gaps < 0.75).any():
        return True
    step = frames.between / spacing
    if not step and len(gaps) and abs(frames.thickness / spacing - gaps.min()) < _ALIGNED:
        step = float(gaps.min())
    return step > 1.5 and not (gaps < 1.5).any()


def _pasted(
    frames: Frames, one: _Segment, grid: Grid, axes: tuple[int, int, int], notes: list[Note]
) -> np.ndarray:
    """Return the mask of frames that lie on the lattice of the grid."""
    mask = np.zeros(grid.shape, bool)
    view = mask.transpose(axes)
    inverse = np.linalg.inv(grid.affine[:3, :3])
    exact = grid.to_index(one.position)[:, axes]
    index = nearest_index(exact)
    index[:, 0] = slices_of(exact[:, 0])
    _require_slices(one, index[:, 0], view.shape[0])
    away = float(np.abs(exact - index)[:, 0].max())
    if away > _ON_SLICE:
        away *= grid.spacing[axes[0]]
        text = f"{one.name}: frames lie up to {away:.2f} mm beside their slices"
        notes.append(Note("warning", "frames between slices", text))
    beside = _beside(frames, one, grid, axes)
    if beside > TOLERANCE_MM:
        text = f"{one.name}: voxels lie up to {beside:.2f} mm beside the scan's, which take them"
        notes.append(Note("warning", "segments on another grid", text))
    flips = [
        bool((inverse @ step)[axis] < 0)
        for step, axis in zip((frames.row, frames.column), axes[1:], strict=True)
    ]
    kept = 0
    for (depth, row, column), frame in zip(index, one.pixels, strict=True):
        turned = frame[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
        start = np.array([row, column]) - np.array(flips) * (np.array(frame.shape) - 1)
        low = np.maximum(start, 0)
        high = np.minimum(start + frame.shape, view.shape[1:])
        if (high <= low).any():
            continue
        (a, b), (c, d) = low, high
        part = turned[a - start[0] : c - start[0], b - start[1] : d - start[1]]
        view[depth, a:c, b:d] |= part
        kept += int(part.sum())
    _require_inside(one, kept, int(one.pixels.sum()), notes)
    return mask


def _beside(frames: Frames, one: _Segment, grid: Grid, axes: tuple[int, int, int]) -> float:
    """Return how far the corners of frames lie from voxels of the scan, in plane, in mm."""
    rows, columns = (n - 1 for n in one.pixels.shape[1:])
    ends = one.position + frames.row * rows + frames.column * columns
    index = grid.to_index(np.stack([one.position, ends]))[..., axes[1:]]
    apart = np.abs(index - nearest_index(index)) * np.take(grid.spacing, axes[1:])
    return float(apart.max())


def _require_slices(one: _Segment, slices: np.ndarray, count: int) -> None:
    """Raise an error if a frame lies on no slice of the scan."""
    lost = np.flatnonzero((slices < 0) | (slices >= count))
    if len(lost):
        x, y, z = one.position[lost[0]] * (-1, -1, 1)
        raise one.error(
            "must lie on slices of its scan",
            f"{len(lost)} of {len(slices)} marked frames on none, the first at "
            f"ImagePositionPatient ({x:.2f}, {y:.2f}, {z:.2f})",
            "import the scan that was segmented, with all of its slices",
        )


def _require_inside(one: _Segment, kept: int, total: int, notes: list[Note]) -> None:
    """Note voxels beside the scan; raise an error if all are."""
    if not kept:
        raise one.error(
            "must lie in its scan",
            "all of it outside",
            "import the scan that was segmented, with all of its slices",
        )
    if kept < total:
        share = 1 - kept / total
        text = f"{one.name}: {share:.1%} of its voxels lie outside of the scan; left out"
        notes.append(Note("warning", "regions cut at the edge of the scan", text))


def _resampled(frames: Frames, one: _Segment, grid: Grid, notes: list[Note]) -> np.ndarray:
    """Return the mask by way of the grid that the frames themselves lie on."""
    normal = np.cross(frames.row, frames.column)
    normal /= np.linalg.norm(normal)
    first = one.position[(one.position @ normal).argmin()]
    along = (one.position - first) @ normal
    shift = one.position - first - np.outer(along, normal)
    step = _step(frames.position @ normal, frames)
    if step is None or np.abs(shift).max() > 0.1:
        raise one.error(
            "must have evenly spaced frames where they are not on the scan's slices",
            "frames at uneven distances" if step is None else "shifted frames",
            "export the segmentation on the grid of the scan",
        )
    slices = nearest_index(along / step)
    block = np.zeros((int(slices.max()) + 1, *one.pixels.shape[1:]), np.uint8)
    np.maximum.at(block, slices, one.pixels.astype(np.uint8))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([normal * step, frames.row, frames.column], 1)
    affine[:3, 3] = first
    d, h, w = (int(n) for n in block.shape)
    lattice = Grid((d, h, w), affine)
    index = grid.to_index(lattice.to_world(np.argwhere(block)))
    inside = ((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(-1)
    _require_inside(one, int(np.sum(inside)), int(one.pixels.sum()), notes)
    text = f"{one.name}: drawn on another grid; each voxel takes the nearest"
    notes.append(Note("warning", "segments on another grid", text))
    return resample(block, lattice, grid, order=0) > 0


def _step(along: np.ndarray, frames: Frames) -> float | None:
    """Return the distance of planes, in mm, that has every frame of the file on one of them.

    Writers drop empty frames, so the smallest gap may be a multiple of it.
    """
    places = np.sort(along) - along.min()
    gaps = np.diff(places)
    gaps = gaps[gaps > 0.01]
    if not len(gaps):
        return frames.between or frames.thickness or 1.0
    for guess in (frames.between, float(gaps.min()), frames.thickness):
        count = int(nearest_index(places[-1] / guess)) if guess > 0 else 0
        # Headers are rounded: the whole length gives the distance exactly.
        step = float(places[-1]) / max(count, 1)
        if count and np.abs(places / step - nearest_index(places / step)).max() < 0.1:
            return step
    return None
