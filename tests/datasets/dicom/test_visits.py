"""Series of several studies that are one case: by reference, frame of reference, or request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.notes import Note, read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label
from hilum.datasets.manifest import notes_file, read_manifest

Write = Callable[..., list[Path]]
pydicom = pytest.importorskip("pydicom")
CT, FRAME = "1.2.3.1", "1.2.3.9"


def structure(
    file: Path, series: str | None, study: str, frame: str = FRAME, slices: list[str] | None = None
) -> None:
    """Write an RTSTRUCT of a box of 4 x 5 voxels on slices 2 and 3 of the CT of `dicom_series`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

    data, roi, region, reference = Dataset(), Dataset(), Dataset(), Dataset()
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, "1.2.9.1"
    data.Modality, data.PatientID, data.SeriesNumber = "RTSTRUCT", "P1", 90
    data.StudyInstanceUID, data.SeriesInstanceUID = study, "1.2.9.2"
    data.StudyDate, data.SeriesDescription = "20240110", "contours"
    roi.ROINumber, roi.ROIName, region.ReferencedROINumber = 1, "GTVn", 1
    region.ContourSequence = []
    for number in (2, 3):
        contour = Dataset()
        contour.ContourGeometricType = "CLOSED_PLANAR"
        # Rows 2 to 5 and columns 3 to 7 of slices of 2 x 1.5 mm from (-20, -15, 100).
        x, y, z = (
            (-20 + 1.5 * 2.5, -20 + 1.5 * 7.5),
            (-15 + 2 * 1.5, -15 + 2 * 5.5),
            100 + 3 * number,
        )
        corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
        contour.ContourData = [float(v) for corner in corners for v in corner]
        if slices:
            image = Dataset()
            image.ReferencedSOPInstanceUID = slices[number]
            contour.ContourImageSequence = [image]
        region.ContourSequence.append(contour)
    data.StructureSetROISequence, data.ROIContourSequence = [roi], [region]
    reference.FrameOfReferenceUID = frame
    if series:
        named, one = Dataset(), Dataset()
        one.SeriesInstanceUID = series
        named.RTReferencedSeriesSequence = [one]
        reference.RTReferencedStudySequence = [named]
    data.ReferencedFrameOfReferenceSequence = [reference]
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(file, data, enforce_file_format=True)


def imported(root: Path, out: Path, *options: str) -> tuple[dict[str, Case], list[Note]]:
    lines: list[str] = []
    manifest = import_cohort("dicom", root, out, options=options, say=lines.append)
    return {case.id: case for case in read_manifest(manifest)}, read_notes(notes_file(manifest))


LABELS: dict[str, tuple[dict[str, Any], str]] = {
    "the series named, in another study": ({"series": CT, "study": "1.9"}, "the series"),
    "the series named, another frame": (
        {"series": CT, "study": "1.9", "frame": "1.1"}, "the series",
    ),
    "the slices named": ({"series": None, "study": "1.9", "slices": True}, "the slices"),
    "an unknown series, but its slices": (
        {"series": "1.2.77", "study": "1.9", "slices": True}, "the slices",
    ),
    "the frame of reference alone": ({"series": None, "study": "1.9"}, "frame of reference"),
    "the study of another scan": ({"series": CT, "study": "1.2.4"}, "the series"),
    "its own study": ({"series": CT, "study": "1.2.3"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_a_label_goes_to_the_scan_that_it_was_drawn_on(
    name: str, dicom_series: Write, tmp_path: Path
) -> None:
    label, rule = LABELS[name]
    root = tmp_path / "in"
    files = dicom_series(root / "ct", "CT", uid=CT)
    slices = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    if "slices" in label:
        label = {**label, "slices": slices}
    other = {"StudyInstanceUID": "1.2.4", "StudyDate": "20230102", "FrameOfReferenceUID": "1.2.8"}
    dicom_series(root / "before", "CT", uid="1.2.3.7", **other)
    structure(root / "rs.dcm", **label)
    cases, notes = imported(root, tmp_path / "out")
    assert set(cases) == {"P1_20240102", "P1_20230102"}
    assert cases["P1_20230102"].label is None
    mask = read_label(cases["P1_20240102"].label or Path()).array
    assert mask.sum() == 2 * 4 * 5
    assert np.flatnonzero(mask.any((1, 2))).tolist() == [2, 3]
    moved = [note for note in notes if note.kind == "labels of another study"]
    assert len(moved) == bool(rule)
    assert all(rule in note.text for note in moved)


Pair = dict[str, Any]
PAIRS: dict[str, tuple[Pair, Pair, list[str], set[str]]] = {
    "one study": ({}, {}, [], {"P1"}),
    "two studies of a frame": ({}, {"StudyInstanceUID": "1.2.4"}, [], {"P1"}),
    "two studies of a frame over midnight": (
        {}, {"StudyInstanceUID": "1.2.4", "StudyDate": "20240103"}, [], {"P1"},
    ),
    "a frame that was copied to another day": (
        {}, {"StudyInstanceUID": "1.2.4", "StudyDate": "20240302"}, [],
        {"P1_20240102", "P1_20240302"},
    ),
    "another frame": (
        {}, {"StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.8"}, [], {"", "+"},
    ),
    "another patient of the same frame": (
        {}, {"StudyInstanceUID": "1.2.4", "PatientID": "P2"}, [], {"P1", "P2"},
    ),
    "another frame, on request": (
        {}, {"StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.8", "StudyDate": "20240112"},
        ["pair=patient"], {"P1"},
    ),
    "too far apart for the request": (
        {}, {"StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.8", "StudyDate": "20240112"},
        ["pair=patient", "pair_days=5"], {"P1_20240102", "P1_20240112"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["CT", "MR"])
@pytest.mark.parametrize("name", PAIRS)
def test_studies_pair_by_frame_of_reference_and_on_request(
    name: str, kind: str, dicom_series: Write, tmp_path: Path
) -> None:
    first, second, options, ids = PAIRS[name]
    root = tmp_path / "in"
    dicom_series(root / "a", "PT", uid="1.2.3.2", **first)
    dicom_series(root / "b", kind, uid=CT, **second)
    cases, notes = imported(root, tmp_path / "out", *options)
    assert len(cases) == len(ids)
    if "" not in ids:
        assert set(cases) == ids
    found = sorted(sorted(case.volumes) for case in cases.values())
    other = "ct" if kind == "CT" else "mr_t1"
    assert found == ([sorted(["pet", other])] if len(ids) == 1 else sorted([["pet"], [other]]))
    joined = [note for note in notes if note.kind == "studies that are one case"]
    assert len(joined) == (len(ids) == 1 and name != "one study")
    if options and joined:
        assert "10 days apart" in joined[0].text
    for case in cases.values():
        file = next(iter(case.volumes.values())).parent / "source.json"
        assert json.loads(file.read_text())["pairing"]


def test_scans_joined_on_request_elsewhere_in_the_room_are_kept_with_a_warning(
    dicom_series: Write, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    dicom_series(root / "a", "PT", uid="1.2.3.2")
    dicom_series(
        root / "b", "MR", uid=CT, StudyInstanceUID="1.2.4", FrameOfReferenceUID="1.2.8",
        start=(-20.0, -15.0, 900.0),
    )  # fmt: skip
    cases, notes = imported(root, tmp_path / "out", "pair=patient")
    assert set(cases["P1"].volumes) == {"pet", "mr_t1"}
    (note,) = [note for note in notes if note.severity == "warning"]
    assert "registration=rigid" in note.text


def test_a_visit_that_has_both_is_not_joined(dicom_series: Write, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for number, date in ((1, "20240101"), (2, "20240102")):
        study = {"StudyInstanceUID": f"1.2.{number}", "StudyDate": date}
        dicom_series(root / f"ct{number}", "CT", uid=f"1.2.3.1{number}", **study)
        dicom_series(root / f"pt{number}", "PT", uid=f"1.2.3.2{number}", **study)
    cases, _ = imported(root, tmp_path / "out", "pair=patient")
    assert {name: set(case.volumes) for name, case in cases.items()} == {
        "P1_20240101": {"ct", "pet"},
        "P1_20240102": {"ct", "pet"},
    }
