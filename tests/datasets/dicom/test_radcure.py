"""A tree as TCIA gives RADCURE: a planning CT with an RTSTRUCT of targets and organs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label
from hilum.datasets.manifest import read_manifest

Write = Callable[..., list[Path]]
REGIONS = {
    "GTVp": (1, 2, 1),
    "GTVn": (4, 5, 1),
    "GTVn1": (7, 8, 1),
    "GTVn2R": (1, 2, 6),
    "Brainstem": (4, 5, 6),
    "External": (7, 8, 6),
}
"""First and last row and first column of boxes of two columns, on one slice."""


def structure(file: Path, headers: Sequence[Dataset]) -> None:
    """Write every region as a box on the second slice, with the CT as its reference."""
    header = headers[1]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientID = "RTSTRUCT", header.PatientID
    data.StudyInstanceUID, data.SeriesInstanceUID = header.StudyInstanceUID, generate_uid()
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    corner, (down, across) = header.ImagePositionPatient, header.PixelSpacing
    for number, (name, (low, high, left)) in enumerate(REGIONS.items(), 1):
        roi, region, contour = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, region.ReferencedROINumber = number, name, number
        contour.ContourGeometricType = "CLOSED_PLANAR"
        points = [(row, column) for row in (low - 0.5, high + 0.5) for column in (left - 0.5,)]
        points += [(row, column) for row in (high + 0.5, low - 0.5) for column in (left + 1.5,)]
        contour.ContourData = [
            f"{value:.4f}"
            for row, column in points
            for value in (corner[0] + column * across, corner[1] + row * down, corner[2])
        ]
        region.ContourSequence = [contour]
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(region)
    frame, study, one = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = header.FrameOfReferenceUID
    one.SeriesInstanceUID = header.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [one]
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    file.parent.mkdir(parents=True)
    data.save_as(file, enforce_file_format=True)


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ((), {"GTVn": 1, "GTVn1": 1, "GTVn2R": 1}),
        (("labels={GTVn*: 2, GTVp*: 1}",), {"GTVp": 1, "GTVn": 2, "GTVn1": 2, "GTVn2R": 2}),
        (("labels={GTVn*: 1, GTVp: 0}",), {"GTVn": 1, "GTVn1": 1, "GTVn2R": 1}),
        (('labels={"GTVn?*": 1}',), {"GTVn1": 1, "GTVn2R": 1}),
    ],
)
def test_nodes_are_read_by_their_names(
    dicom_series: Write, tmp_path: Path, options: tuple[str, ...], classes: dict[str, int]
) -> None:
    root = tmp_path / "RADCURE"
    for number in (5, 6):
        patient = f"RADCURE-{number:04d}"
        place = root / patient / "11-27-2004-NA-RT SIMULATION-18560"
        own = {"PatientID": patient, "StudyInstanceUID": f"1.{number}"}
        own |= {"FrameOfReferenceUID": f"1.9.{number}"}
        files = dicom_series(place / "2.000000-Helical-79896", "CT", uid=f"1.2.{number}", **own)
        headers = sorted(map(dcmread, files), key=lambda h: float(h.ImagePositionPatient[2]))
        structure(place / "1.000000-77488" / "1-1.dcm", headers)
    cases = read_manifest(import_cohort("dicom", root, tmp_path / "out", options=options))
    assert [case.patient for case in cases] == ["RADCURE-0005", "RADCURE-0006"]
    for case in cases:
        assert case.label is not None
        array = read_label(case.label).array
        expected = np.zeros_like(array[0])
        for name, value in classes.items():
            low, high, left = REGIONS[name]
            expected[low : high + 1, left : left + 2] = value
        (slice_,) = np.flatnonzero(array.any((1, 2)))
        # The file keeps the scanner's rows and columns, whichever way they run.
        turns = [np.flip(array[slice_], axes) for axes in ((), (0,), (1,), (0, 1))]
        assert any(np.array_equal(turn, expected) for turn in turns)
