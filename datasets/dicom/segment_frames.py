"""Read the frames of a DICOM SEG: where each lies, which segment it shows, and its pixels.

DICOM PS3.3 C.8.20 and C.7.6.16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels


@dataclass(frozen=True)
class Frames:
    """Where the frames of a file lie; lengths in mm, RAS.

    Attributes:
        dataset: The file, to decode frames from.
        kind: BINARY, FRACTIONAL or LABELMAP.
        position: `[F, 3]`, centre of the first pixel.
        row: Step from a row to the next.
        column: Step from a column to the next.
        segment: Number of each frame's segment; -1 where the pixels say it.
        between: SpacingBetweenSlices, or 0.
        thickness: SliceThickness, or 0; that of the scan, whatever the distance of its slices.
    """

    dataset: Dataset
    kind: str
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    segment: np.ndarray
    between: float
    thickness: float


def read_frames(dataset: Dataset) -> Frames:
    """Return where the frames lie; raises what pydicom and numpy raise if they do not say."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    turns = [_group(g, shared, "PlaneOrientationSequence").ImageOrientationPatient for g in groups]
    measures = [_group(g, shared, "PixelMeasuresSequence") for g in groups]
    turn, spacing = np.array(turns, float), np.array([m.PixelSpacing for m in measures], float)
    if np.ptp(turn, 0).max() > 1e-4 or np.ptp(spacing, 0).max() > 1e-4:
        raise ValueError("frames of different orientation or spacing")
    kind, segment = str(dataset.SegmentationType), [-1] * len(groups)
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise ValueError(f"frames of kind {kind}")
    if not (int(dataset.Rows) and int(dataset.Columns)):
        raise ValueError("frames without rows or columns")
    if kind != "LABELMAP":
        key = "SegmentIdentificationSequence"
        segment = [int(_group(g, shared, key).ReferencedSegmentNumber) for g in groups]
    flip = np.array([-1, -1, 1])
    return Frames(
        dataset,
        kind,
        frame_positions(dataset),
        turn[0, 3:] * flip * spacing[0, 0],
        turn[0, :3] * flip * spacing[0, 1],
        np.array(segment),
        float(measures[0].get("SpacingBetweenSlices") or 0),
        float(measures[0].get("SliceThickness") or 0),
    )


def frame_positions(dataset: Dataset) -> np.ndarray:
    """Return the centre of the first pixel of each frame, `[F, 3]` in RAS mm."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    return np.array(places, float).reshape(-1, 3) * (-1, -1, 1)


def decoded(dataset: Dataset, which: Sequence[int] | None = None) -> np.ndarray:
    """Return the stored values of these frames, or of all, `[F, rows, columns]`."""
    count, rows, columns = int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns)
    which = range(count) if which is None else which
    if int(dataset.BitsAllocated) == 1 and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        images = [_unpacked(dataset.PixelData, i, rows * columns) for i in which]
    else:
        images = list(iter_pixels(dataset, indices=list(which), raw=True)) if len(which) else []
    return np.array(images).reshape(len(which), rows, columns)


def marked(
    frames: Frames, number: int, labelled: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels, bool `[F, rows, columns]`, and positions of the frames that show a segment.

    Args:
        frames: All frames.
        number: Of the segment.
        labelled: The decoded frames of a label map.
    """
    if labelled is not None:
        which = np.flatnonzero((labelled == number).any((1, 2)))
        return labelled[which] == number, frames.position[which]
    which = np.flatnonzero(frames.segment == number)
    pixels = decoded(frames.dataset, which.tolist())
    if frames.kind == "FRACTIONAL":
        pixels = pixels >= 0.5 * float(frames.dataset.MaximumFractionalValue)
    shown = pixels.any((1, 2))
    return pixels[shown] > 0, frames.position[which[shown]]


def _unpacked(packed: bytes, index: int, size: int) -> np.ndarray:
    """Return one frame of one bit a pixel; a frame need not begin with a byte (PS3.5 8.1.1)."""
    first, last = index * size, (index + 1) * size
    part = np.frombuffer(packed[first // 8 : -(-last // 8)], np.uint8)
    return np.unpackbits(part, bitorder="little")[first % 8 :][:size]


def _group(frame: Dataset, shared: Dataset, keyword: str) -> Dataset:
    found = frame.get(keyword) or shared.get(keyword)
    if not found:
        raise KeyError(f"no {keyword}")
    return found[0]
