"""A small CT series of real DICOM files, and a mask for it, for the tests of DICOM out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hilum.core.geometry import Grid
from hilum.datasets.dicom.volume import read_slices

CT = "1.2.840.10008.5.1.4.1.1.2"
SHAPE = (6, 10, 12)
SPACING = (3.0, 2.0, 1.5)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_A, _B = np.radians(20), np.radians(35)
SLANTED = (
    float(np.cos(_A)), float(np.sin(_A)), 0.0,
    float(-np.sin(_A) * np.cos(_B)), float(np.cos(_A) * np.cos(_B)), float(np.sin(_B)),
)  # fmt: skip
"""Rows and columns of slices that are turned about two axes."""


def write_ct(
    folder: Path,
    shape: Sequence[int] = SHAPE,
    *,
    uid: str = "1.2.3.1",
    turn: Sequence[float] = STRAIGHT,
    descending: bool = False,
    description: str = "CT",
) -> None:
    """Write a series, a file per slice; `descending` numbers the slices against their normal."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(turn[:3], turn[3:]) * (-1 if descending else 1)
    start = np.array([-20.0, -15.0, 100.0])
    for number in range(shape[0]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CT
        meta.MediaStorageSOPInstanceUID = generate_uid(None, [uid, str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
        data.Modality, data.PatientID, data.PatientName = "CT", "P1", "Doe^Jane"
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", uid
        data.FrameOfReferenceUID, data.StudyDate = "1.2.3.9", "20240102"
        data.SeriesNumber, data.SeriesDescription = int(uid.rsplit(".", 1)[-1]), description
        data.ImageType = ["ORIGINAL", "PRIMARY"]
        data.Rows, data.Columns = shape[1:]
        data.PixelSpacing, data.SliceThickness = list(SPACING[1:]), SPACING[0]
        data.ImageOrientationPatient = [round(float(v), 12) for v in turn]
        data.ImagePositionPatient = [
            round(float(v), 9) for v in start + number * SPACING[0] * normal
        ]
        data.InstanceNumber = number + 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = np.full(shape[1:], 1000 + number, np.int16).tobytes()
        data.save_as(folder / f"CT{number:03d}.dcm", enforce_file_format=True)


def grid_of(folder: Path) -> Grid:
    """Return the grid of the series in a folder."""
    return read_slices(sorted(folder.glob("*.dcm"))).grid


def blobs() -> np.ndarray:
    """Return a mask of three nodes: a box, a diagonal that touches itself at corners, a voxel."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 2:6, 3:8] = 1
    mask[2, 3, 4] = 0
    for step in range(3):
        mask[3 + step, 7 + step, 8 + step] = 1
    mask[5, 1, 1] = 1
    return mask
