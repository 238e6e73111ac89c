"""Find the series that an RTSTRUCT or DICOM SEG was drawn on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from hilum.core.errors import DataError
from hilum.core.geometry import Grid, nearest_index

from .contours import contour_points
from .segment_frames import frame_positions

Series = Mapping[str, tuple[Grid, Sequence[Dataset]]]
"""By SeriesInstanceUID: the grid of each volume and the headers of its slices."""


def series_of(
    dataset: Dataset,
    numbers: Sequence[int],
    series: Series,
    *,
    file: Path | None = None,
    case: str | None = None,
) -> str:
    """Return the SeriesInstanceUID that these regions or segments belong to.

    What decides, in this order: the slices that contours or frames refer to; the series that the
    file refers to; the frame of reference. Of several such series it is the one on whose slices
    most contours lie (frames: on whose voxels).

    Raises:
        DataError: If the file refers to a series that is not in `series`, or nothing decides.
    """
    owner = {
        slice_: uid
        for uid, (_, headers) in series.items()
        for slice_ in _uids(headers, "SOPInstanceUID")
    }
    slices = list(referenced_slices(dataset, numbers))
    votes = Counter(owner[uid] for uid in slices if uid in owner)
    if votes:
        return votes.most_common(1)[0][0]
    named = list(dict.fromkeys(referenced_series(dataset)))
    known = [uid for uid in named if uid in series]
    if known:
        # The first that is named, if they fit alike.
        return max(known, key=lambda uid: _fit(dataset, numbers, series[uid][0], file, case))
    if named or slices:
        what = f"series {named[0]}" if named else f"slice {slices[0]}"
        raise DataError(
            "the scan that a label was drawn on must be there",
            case=case,
            file=file,
            found=f"a label of {what}, and {len(series)} other series",
            remedy="add that series to the folder, or leave the label file out",
        )
    return _by_frame(dataset, numbers, series, file, case)


def _by_frame(
    dataset: Dataset, numbers: Sequence[int], series: Series, file: Path | None, case: str | None
) -> str:
    frames = set(frames_of_reference(dataset))
    fits = {
        uid: _fit(dataset, numbers, grid, file, case)
        for uid, (grid, headers) in series.items()
        if frames & set(_uids(headers[:1], "FrameOfReferenceUID"))
    }
    best = [uid for uid, fit in fits.items() if fit == max(fits.values())]
    if len(best) != 1:
        raise DataError(
            "a label must say which series it was drawn on",
            case=case,
            file=file,
            found=f"no reference, and {len(best)} series of its frame of reference",
            remedy="leave only the series it belongs to in the folder",
        )
    return best[0]


def referenced_slices(dataset: Dataset, numbers: Sequence[int] | None = None) -> Iterator[str]:
    """Yield the slices that the contours of these regions (or of all), or any frames, refer to."""
    for contour in _contours(dataset, numbers):
        yield from _uids(contour.get("ContourImageSequence"), "ReferencedSOPInstanceUID")
    for frame in dataset.get("PerFrameFunctionalGroupsSequence") or []:
        for derived in frame.get("DerivationImageSequence") or []:
            yield from _uids(derived.get("SourceImageSequence"), "ReferencedSOPInstanceUID")


def referenced_series(dataset: Dataset) -> Iterator[str]:
    """Yield the SeriesInstanceUIDs that an RTSTRUCT or a SEG names."""
    yield from _uids(dataset.get("ReferencedSeriesSequence"), "SeriesInstanceUID")
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            yield from _uids(study.get("RTReferencedSeriesSequence"), "SeriesInstanceUID")


def frames_of_reference(dataset: Dataset) -> Iterator[str]:
    """Yield the FrameOfReferenceUIDs that an RTSTRUCT or a SEG names."""
    yield from _uids([dataset], "FrameOfReferenceUID")
    yield from _uids(dataset.get("ReferencedFrameOfReferenceSequence"), "FrameOfReferenceUID")
    yield from _uids(dataset.get("StructureSetROISequence"), "ReferencedFrameOfReferenceUID")


def _uids(items: Iterable[Dataset] | None, keyword: str) -> Iterator[str]:
    """Yield what the items say; one that says nothing must not match another such."""
    for item in items or []:
        if item.get(keyword):
            yield str(item[keyword].value)


def _contours(dataset: Dataset, numbers: Sequence[int] | None) -> Iterator[Dataset]:
    for item in dataset.get("ROIContourSequence") or []:
        if numbers is None or int(item.ReferencedROINumber) in numbers:
            yield from item.get("ContourSequence") or []


def _fit(
    dataset: Dataset, numbers: Sequence[int], grid: Grid, file: Path | None, case: str | None
) -> int:
    """Return how many contours lie on a slice of a grid, or frames begin at one of its voxels.

    Slices are taken to follow the first axis.
    """
    if "PerFrameFunctionalGroupsSequence" in dataset:
        index, checked = grid.to_index(frame_positions(dataset)), [0, 1, 2]
    else:
        contours = _contours(dataset, numbers)
        points = [contour_points(c, "a region", file, case)[:1] for c in contours]
        index, checked = grid.to_index(np.concatenate([*points, np.zeros((0, 3))])), [0]
    inside = (index[:, 0] > -0.5) & (index[:, 0] < grid.shape[0] - 0.5)
    near = np.abs(index - nearest_index(index))[:, checked].max(1, initial=0) < 0.05
    return int(np.sum(inside & near))
