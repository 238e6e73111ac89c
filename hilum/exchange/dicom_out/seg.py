"""Write a mask as a DICOM SEG on the slices of the CT that it was made on.

DICOM PS3.3 A.51: binary, one segment for each node or class. The file is opened again, and takes
its place only if every voxel is as it was in the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.core.errors import DataError, UserError
from hilum.core.files import atomic_path
from hilum.core.geometry import Grid
from hilum.datasets.dicom.enhanced import quiet

from .regions import NAMES, Region, Segments, regions
from .scan import Scan, completed, find_scan

if TYPE_CHECKING:
    from pydicom import Dataset

AT_ONCE = 32
"""Slices compared at a time, so that a long scan takes little memory."""


def write_seg(
    mask: np.ndarray,
    grid: Grid,
    source_series_folder: str | Path,
    out: str | Path,
    *,
    segments: Segments = "nodes",
    names: Mapping[int, str] = NAMES,
    algorithm: str = "hilum",
    series: str | None = None,
) -> Path:
    """Write a binary DICOM SEG, and show that it holds the mask voxel for voxel.

    The same mask on the same series has the same UIDs, so that an archive knows it again.

    Args:
        mask: Whole numbers `[D, H, W]`; 255 is unknown and left out.
        grid: Where it lies; must be the grid of the series (axes in any order) or a box of it.
        source_series_folder: Holds the CT series, among others or alone.
        out: File to write.
        segments: One segment for each node, numbered as in the node table, or for each class.
        names: Of the classes; they choose the coded terms, too (`dicom_regions.terms`).
        algorithm: Name of what made the mask.
        series: SeriesInstanceUID of the series, where the folder leaves it open.

    Raises:
        DataError: If the mask lies on no series, slices are missing, it marks nothing, or the
            file does not hold what was written.
        UserError: If highdicom is not installed.
    """
    require_highdicom()
    scan = find_scan(mask, grid, source_series_folder, series)
    labels, rows = regions(scan.mask, scan.grid, segments, names)
    with quiet():
        made = _segmentation(scan, labels, rows, algorithm)
        with atomic_path(out) as part:
            made.save_as(part, enforce_file_format=True)
            _compare(part, scan.headers, labels, len(rows))
    return Path(out)


def require_highdicom() -> None:
    """Raise an error that names the extra if highdicom is missing."""
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise UserError(
            "DICOM SEG needs highdicom, which is not installed",
            remedy="pip install 'hilum[dicom]'",
        ) from None


def _segmentation(scan: Scan, labels: np.ndarray, rows: Sequence[Region], algorithm: str) -> Any:
    import highdicom

    made_by = version("hilum")
    what = ["SEG", *[row.name for row in rows], algorithm]
    method = highdicom.AlgorithmIdentificationSequence(
        name=algorithm, family=_code("123110", "DCM", "Artificial Intelligence"),
        version=made_by,
    )  # fmt: skip
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=row.number,
            segment_label=row.name,
            segmented_property_category=_code(row.category[0], "SCT", row.category[1]),
            segmented_property_type=_code(row.type[0], "SCT", row.type[1]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=method,
            tracking_uid=scan.new_uid(*what, row.number),
            tracking_id=row.name,
            display_color=highdicom.color.CIELabColor.from_rgb(*row.colour),
        )
        for row in rows
    ]
    small = np.uint8 if len(rows) < 256 else np.uint16
    return highdicom.seg.Segmentation(
        source_images=completed(scan.headers),
        pixel_array=labels.astype(small),
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=scan.new_uid(*what, "series"),
        series_number=900,
        sop_instance_uid=scan.new_uid(*what, "instance"),
        instance_number=1,
        manufacturer="hilum",
        manufacturer_model_name=algorithm,
        software_versions=made_by,
        device_serial_number="0",
        content_label="NODES",
        content_description="Segmentation of lymph nodes",
        series_description=f"{algorithm} segmentation",
    )


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.sr.coding import Code

    return Code(value, scheme, meaning)


def _compare(file: Path, headers: Sequence[Dataset], labels: np.ndarray, count: int) -> None:
    """Raise an error unless the file, opened again, gives every voxel its region."""
    import highdicom

    again = highdicom.seg.segread(file)
    uids = [str(header.SOPInstanceUID) for header in headers]
    wrong = 0 if again.number_of_segments == count else count
    for start in range(0, len(uids), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        read = again.get_pixels_by_source_instance(
            uids[part], combine_segments=True, assert_missing_frames_are_empty=True
        )
        wrong += int((read != labels[part]).sum())
    if wrong:
        raise DataError(
            "a DICOM SEG must hold the mask that was written", found=f"{wrong} other voxels"
        )
