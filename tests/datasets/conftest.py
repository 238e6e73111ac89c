"""Real DICOM files, made on the spot, for the tests of the importer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SOP = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
SIDES = (6, 10, 12)
SPACING = (3.0, 2.0, 1.5)
PET_TAGS: dict[str, Any] = {
    "Units": "BQML",
    "CorrectedImage": ["ATTN", "DECY", "SCAT"],
    "DecayCorrection": "START",
    "PatientWeight": 75.0,
    "SeriesDate": "20240102",
    "SeriesTime": "101500",
    "AcquisitionDate": "20240102",
    "AcquisitionTime": "101500",
    "SeriesType": ["WHOLE BODY", "IMAGE"],
}


def voxels(kind: str, seed: int = 0) -> np.ndarray:
    """Return stored integers `[D, H, W]` of a small body."""
    draw = np.random.default_rng(seed)
    inside = np.zeros(SIDES, bool)
    inside[:, 2:8, 2:10] = True
    if kind == "CT":
        return (np.where(inside, 1060, 24) + draw.integers(-9, 9, SIDES)).astype(np.int16)
    return (np.where(inside, 9000, 300) + draw.integers(0, 99, SIDES)).astype(np.int16)


def write_series(
    folder: Path,
    kind: str = "CT",
    array: np.ndarray | None = None,
    *,
    uid: str = "1.2.3.1",
    start: Sequence[float] = (-20.0, -15.0, 100.0),
    turn: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: Sequence[float] = SPACING,
    each: Callable[[int, Any], None] | None = None,
    **tags: Any,
) -> list[Path]:
    """Write one series, a file per slice; `each` changes the dataset of a slice by its number."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    array = voxels(kind) if array is None else array
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(turn[:3], turn[3:])
    files = []
    for number, image in enumerate(array):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = SOP[kind]
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uid, str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = SOP[kind], meta.MediaStorageSOPInstanceUID
        data.Modality, data.PatientID, data.StudyInstanceUID = kind, "P1", "1.2.3"
        data.SeriesInstanceUID, data.FrameOfReferenceUID = uid, "1.2.3.9"
        data.StudyDate, data.SeriesNumber = "20240102", int(uid.rsplit(".", 1)[-1])
        data.SeriesDescription = {"CT": "CT WB", "PT": "PET WB", "MR": "t1 tse"}[kind]
        data.ImageType = ["ORIGINAL", "PRIMARY"]
        data.Rows, data.Columns = image.shape
        data.PixelSpacing, data.SliceThickness = list(spacing[1:]), spacing[0]
        data.ImageOrientationPatient = list(turn)
        data.ImagePositionPatient = [
            float(a + number * spacing[0] * b) for a, b in zip(start, normal, strict=True)
        ]
        data.InstanceNumber = number + 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.RescaleSlope, data.RescaleIntercept = (1, -1024) if kind == "CT" else (0.5, 0)
        if kind == "PT":
            for tag, value in PET_TAGS.items():
                setattr(data, tag, value)
            tracer = Dataset()
            tracer.RadiopharmaceuticalStartTime = "091500"
            tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 3.5e8, 6586.2
            data.RadiopharmaceuticalInformationSequence = [tracer]
        for tag, value in tags.items():
            setattr(data, tag, value)
        data.PixelData = np.ascontiguousarray(image).tobytes()
        if each:
            each(number, data)
        file = folder / f"{kind}{number:03d}"
        data.save_as(file, enforce_file_format=True)
        files.append(file)
    return files


@pytest.fixture
def dicom_series() -> Callable[..., list[Path]]:
    """Return a function that writes a DICOM series."""
    pytest.importorskip("pydicom")
    return write_series


@pytest.fixture
def dicom_voxels() -> Callable[..., np.ndarray]:
    """Return a function that makes the stored integers of a small body."""
    return voxels
