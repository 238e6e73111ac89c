"""Write a mask as an RTSTRUCT on the slices of the CT that it was made on.

DICOM PS3.3 A.19 and C.8.8.5 to C.8.8.8. The file is read again as any RTSTRUCT is, and takes its
place only if the regions are as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.geometry import Grid
from hilum.datasets.dicom.enhanced import quiet

from .outlines import outlines
from .regions import NAMES, Region, Segments, regions
from .scan import Scan, completed, find_scan

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileDataset

_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY = "1.2.840.10008.3.1.2.3.1"
_TAKEN = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "SpecificCharacterSet",
    "PositionReferenceIndicator", "FrameOfReferenceUID",
)  # fmt: skip
DICE = 0.97
"""Least overlap of what is read again with what was written; so much for the volume, too."""
_DIGITS = 4
"""Of coordinates in mm; a decimal string has 16 characters."""


def write_rtstruct(
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
    """Write an RTSTRUCT with a region for each node or class, and show that it gives the mask back.

    Contours run along the edges of voxels: a voxel is inside if its centre is, and areas are those
    of the voxels. Holes and several parts in a slice are kept. The same mask on the same series
    has the same UIDs.

    Args:
        mask: Whole numbers `[D, H, W]`; 255 is unknown and left out.
        grid: Where it lies; must be the grid of the series (axes in any order) or a box of it.
        source_series_folder: Holds the CT series, among others or alone.
        out: File to write.
        segments: One region for each node, numbered as in the node table, or for each class.
        names: Of the classes.
        algorithm: Name of what made the mask.
        series: SeriesInstanceUID of the series, where the folder leaves it open.

    Raises:
        DataError: If the mask lies on no series, slices are missing, it marks nothing, or the
            regions that are read again are others.
        UserError: If pydicom is not installed.
    """
    scan = find_scan(mask, grid, source_series_folder, series)
    labels, rows = regions(scan.mask, scan.grid, segments, names)
    with quiet():
        made = _structure_set(scan, labels, rows, algorithm)
        with atomic_path(out) as part:
            made.save_as(part, enforce_file_format=True)
            _compare(part, scan, labels, rows)
    return Path(out)


def _structure_set(
    scan: Scan, labels: np.ndarray, rows: Sequence[Region], algorithm: str
) -> FileDataset:
    from pydicom import Dataset

    made = _empty(scan, [row.name for row in rows], algorithm)
    frame = Dataset()
    frame.FrameOfReferenceUID = made.FrameOfReferenceUID
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY, made.StudyInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = scan.uid
    series.ContourImageSequence = [_image(header) for header in scan.headers]
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    made.RTROIObservationsSequence = []
    for row in rows:
        roi, contours, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = row.number, row.name
        roi.ReferencedFrameOfReferenceUID = made.FrameOfReferenceUID
        roi.ROIGenerationAlgorithm, roi.ROIGenerationDescription = "AUTOMATIC", algorithm[:64]
        roi.ROIVolume = f"{row.voxels * scan.grid.voxel_ml:.6g}"
        contours.ROIDisplayColor, contours.ReferencedROINumber = list(row.colour), row.number
        contours.ContourSequence = list(_contours(scan, labels, row))
        observation.ObservationNumber = observation.ReferencedROINumber = row.number
        observation.RTROIIdentificationCodeSequence = [_code(*row.type)]
        # What a region is for in a treatment is not for a segmenter to say.
        observation.RTROIInterpretedType = observation.ROIInterpreter = ""
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(contours)
        made.RTROIObservationsSequence.append(observation)
    return made


def _empty(scan: Scan, what: Sequence[str], algorithm: str) -> FileDataset:
    """Return an RTSTRUCT of the scan's patient and study without regions."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian

    (source,) = completed(scan.headers[:1])
    now = datetime.now(UTC)
    meta = FileMetaDataset()
    # Explicit VR holds 64 KB of coordinates at most, which large outlines exceed.
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(_RTSTRUCT)
    meta.MediaStorageSOPInstanceUID = UID(scan.new_uid("RTSTRUCT", *what, algorithm))
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in _TAKEN:
        if keyword in source:
            setattr(made, keyword, source[keyword].value)
    made.SOPClassUID, made.SOPInstanceUID = _RTSTRUCT, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", 901, 1
    made.SeriesInstanceUID = scan.new_uid("RTSTRUCT series", *what, algorithm)
    made.SeriesDescription = f"{algorithm} segmentation"[:64]
    made.Manufacturer, made.ManufacturerModelName = "hilum", algorithm[:64]
    made.SoftwareVersions, made.OperatorsName = version("hilum"), ""
    made.StructureSetLabel, made.StructureSetName = "NODES", f"{algorithm} segmentation"[:64]
    made.StructureSetDate = made.InstanceCreationDate = made.SeriesDate = now.strftime("%Y%m%d")
    made.StructureSetTime = made.InstanceCreationTime = made.SeriesTime = now.strftime("%H%M%S")
    made.ApprovalStatus = "UNAPPROVED"
    return made


def _contours(scan: Scan, labels: np.ndarray, row: Region) -> Iterator[Dataset]:
    """Yield the contours of one region, slice by slice."""
    from pydicom import Dataset

    depth, height, width = row.box
    number = 0
    for index in range(depth.start, depth.stop):
        header = scan.headers[index]
        for outline in outlines(labels[index, height, width] == row.number):
            number += 1
            points = _places(outline + np.array([height.start, width.start]), header)
            contour = Dataset()
            contour.ContourImageSequence = [_image(header)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints, contour.ContourNumber = len(points), number
            contour.ContourData = [f"{value:.{_DIGITS}f}" for value in points.ravel()]
            yield contour


def _places(corners: np.ndarray, header: Dataset) -> np.ndarray:
    """Return corners `[N, 2]` (row, column) of a slice in the patient, `[N, 3]` in mm (LPS)."""
    turn = np.array(header.ImageOrientationPatient, float)
    down, across = (float(value) for value in header.PixelSpacing)
    start = np.array(header.ImagePositionPatient, float)
    return start + np.outer(corners[:, 1] * across, turn[:3]) + np.outer(
        corners[:, 0] * down, turn[3:]
    )  # fmt: skip


def _image(header: Dataset) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _code(value: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _compare(file: Path, scan: Scan, labels: np.ndarray, rows: Sequence[Region]) -> None:
    """Raise an error unless each region, read again, is as it was."""
    from pydicom import dcmread

    from hilum.datasets.dicom.contours import read_contours

    numbers = [row.number for row in rows]
    regions_again = read_contours(dcmread(file), numbers, scan.grid, [])
    for row, (_, again) in zip(rows, regions_again, strict=True):
        voxels = int(again.sum())
        both = int((again[row.box] & (labels[row.box] == row.number)).sum())
        dice = 2 * both / (voxels + row.voxels)
        if dice <= DICE or abs(voxels - row.voxels) > (1 - DICE) * row.voxels:
            raise DataError(
                "an RTSTRUCT must hold the regions that were written",
                found=f"{row.name} with Dice {dice:.3f}, {voxels} of {row.voxels} voxels",
                remedy="write a DICOM SEG, which needs no contours",
            )
