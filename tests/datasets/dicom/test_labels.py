"""Label files find their series and their classes; what does not fit is refused or noted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid
from hilum.datasets.dicom.labels import NODE_NAMES, DicomLabel, label_names, read_labels

CT = Grid(
    (5, 12, 14),
    np.array([[0, 0, -1.0, 40], [0, -1, 0, -30], [3, 0, 0, 200], [0, 0, 0, 1.0]]),
)
PET = Grid(
    (4, 6, 7),
    np.array([[0, 0, -2.0, 39.5], [0, -2, 0, -30.5], [4, 0, 0, 199], [0, 0, 0, 1.0]]),
)


class Study:
    """A CT and a PET of one frame of reference, and a folder for label files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.frame = folder, generate_uid()
        self.ct, self.pet = generate_uid(), generate_uid()
        self.series = {uid: (grid, self._slices(uid, grid)) for uid, grid in self._grids()}

    def _grids(self) -> list[tuple[str, Grid]]:
        return [(str(self.ct), CT), (str(self.pet), PET)]

    def _slices(self, uid: str, grid: Grid) -> list[Dataset]:
        found = []
        for _ in range(grid.shape[0]):
            header = Dataset()
            header.SeriesInstanceUID, header.SOPInstanceUID = uid, generate_uid()
            header.FrameOfReferenceUID = self.frame
            found.append(header)
        return found

    def structure(
        self,
        regions: Mapping[str, tuple[float, float, float]],
        *,
        grid: Grid = CT,
        series: str | None = None,
        slices: list[Dataset] | None = None,
        name: str = "rs.dcm",
        frame: str | None = None,
    ) -> Path:
        """Write boxes on slice 2: by name, first and last row, first column; six columns wide."""
        data = _file(RTStructureSetStorage, "RTSTRUCT")
        data.StructureSetROISequence, data.ROIContourSequence = [], []
        for number, (label, (low, high, left)) in enumerate(regions.items(), 1):
            roi, region, contour = Dataset(), Dataset(), Dataset()
            roi.ROINumber, roi.ROIName, region.ReferencedROINumber = number, label, number
            top, bottom, right = low - 0.5, high + 0.5, left + 5.5
            corners = [(top, left - 0.5), (bottom, left - 0.5), (bottom, right), (top, right)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            points = grid.to_world(np.array([(2, *corner) for corner in corners])) * (-1, -1, 1)
            contour.ContourData = [f"{v:.4f}" for v in points.ravel()]
            if slices:
                contour.ContourImageSequence = [_reference(slices[2])]
            region.ContourSequence = [contour]
            data.StructureSetROISequence.append(roi)
            data.ROIContourSequence.append(region)
        reference = Dataset()
        reference.FrameOfReferenceUID = frame or self.frame
        if series:
            study, one = Dataset(), Dataset()
            one.SeriesInstanceUID = series
            study.RTReferencedSeriesSequence = [one]
            reference.RTReferencedStudySequence = [study]
        data.ReferencedFrameOfReferenceSequence = [reference]
        data.save_as(self.folder / name)
        return self.folder / name

    def segmentation(self, series: str | None, *, name: str = "seg.dcm") -> Path:
        """Write one binary frame, on the PET's slice 1, with rows 1 to 3 marked as Lymph node."""
        data = _file(SegmentationStorage, "SEG")
        item, shared, frame, place, turn, size, mine = (Dataset() for _ in range(7))
        item.SegmentNumber, item.SegmentLabel = 1, "Lymph node"
        data.SegmentSequence, data.SegmentationType = [item], "BINARY"
        data.FrameOfReferenceUID = self.frame
        place.ImagePositionPatient = list(PET.to_world([1, 0, 0]) * (-1, -1, 1))
        turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        size.PixelSpacing, size.SliceThickness = [2, 2], 4
        mine.ReferencedSegmentNumber = 1
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
        frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [mine]
        data.SharedFunctionalGroupsSequence = [shared]
        data.PerFrameFunctionalGroupsSequence = [frame]
        data.Rows, data.Columns, data.NumberOfFrames = 6, 7, 1
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 1, 0, 0
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        pixels = np.zeros((6, 7), np.uint8)
        pixels[1:4] = 1
        data.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        if series:
            one = Dataset()
            one.SeriesInstanceUID = series
            data.ReferencedSeriesSequence = [one]
        data.save_as(self.folder / name)
        return self.folder / name

    def read(self, *files: Path, names: dict[str, int]) -> list[DicomLabel]:
        return read_labels(files, self.series, names, "P1")


def _file(kind: UID, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.Modality = modality
    return data


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        CTImageStorage,
        header.SOPInstanceUID,
    )
    return item


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def box(low: int, high: int, left: int) -> np.ndarray:
    mask = np.zeros(CT.shape, bool)
    mask[2, low : high + 1, left : left + 6] = True
    return mask


def test_names_become_classes_and_the_later_line_wins_overlaps(study: Study) -> None:
    regions = {"Spinal cord": (0, 1, 0), "gtvN ": (4, 8, 3), "GTVp": (2, 5, 2), "PTV": (0, 9, 0)}
    file = study.structure(regions, series=study.ct)
    assert label_names(file) == ["Spinal cord", "gtvN", "GTVp", "PTV"]
    (label,) = study.read(file, names={"GTVp": 1, "gtvn*": 2})
    expected = np.where(box(4, 8, 3), 2, np.where(box(2, 5, 2), 1, 0))
    np.testing.assert_array_equal(label.mask, expected)
    assert (label.series, label.mask.dtype) == (study.ct, np.uint8)
    assert label.names == {"gtvN": 2, "GTVp": 1}
    assert label.left_out == ["Spinal cord", "PTV"]
    # Rows 4 and 5, columns 3 to 7 are in both.
    assert [note.text for note in label.notes] == [
        "class 2 overlaps others in 10 voxels and takes them"
    ]
    (label,) = study.read(file, names={"gtvn*": 2, "GTVp": 1})
    assert label.mask[2, 5, 5] == 1


def test_several_files_of_one_series_are_taken_together(study: Study) -> None:
    first = study.structure({"LN 1": (1, 2, 1)}, series=study.ct)
    second = study.structure({"LN 2": (6, 7, 1)}, series=study.ct, name="b.dcm")
    third = study.structure({"LN 2": (8, 9, 1)}, series=study.ct, name="c.dcm")
    (label,) = study.read(first, second, third, names=NODE_NAMES)
    np.testing.assert_array_equal(label.mask, box(1, 2, 1) | box(6, 9, 1))
    assert [note.text for note in label.notes] == ["'LN 2': drawn more than once, taken together"]


def test_each_series_gets_its_label(study: Study) -> None:
    files = [study.segmentation(study.pet), study.structure({"LN": (1, 2, 1)}, series=study.ct)]
    ct, pet = study.read(*files, names=NODE_NAMES)
    assert (ct.series, pet.series) == (study.ct, study.pet)
    expected = np.zeros(PET.shape)
    expected[1, 1:4] = 1
    np.testing.assert_array_equal(pet.mask, expected)
    assert pet.names == {"Lymph node": 1}


def test_slices_that_contours_refer_to_decide(study: Study) -> None:
    slices = list(study.series[study.pet][1])
    file = study.structure({"LN": (1, 2, 1)}, grid=PET, slices=slices, series=generate_uid())
    assert study.read(file, names=NODE_NAMES)[0].series == study.pet


@pytest.mark.parametrize("grid", [CT, PET])
def test_without_references_the_slices_that_fit_decide(study: Study, grid: Grid) -> None:
    file = study.structure({"LN": (1, 2, 1)}, grid=grid)
    uid = study.ct if grid is CT else study.pet
    assert study.read(file, names=NODE_NAMES)[0].series == uid
    assert study.read(study.segmentation(None), names=NODE_NAMES)[0].series == study.pet


def test_an_unknown_frame_of_reference_is_refused(study: Study) -> None:
    file = study.structure({"LN": (1, 2, 1)}, frame=generate_uid())
    with pytest.raises(DataError, match=r"must say which series .* 0 series of its frame"):
        study.read(file, names=NODE_NAMES)


def test_two_that_name_no_frame_of_reference_do_not_match(study: Study) -> None:
    file = study.structure({"LN": (1, 2, 1)})
    data = dcmread(file)
    del data.ReferencedFrameOfReferenceSequence
    data.save_as(file)
    for _, headers in study.series.values():
        for header in headers:
            del header.FrameOfReferenceUID
    with pytest.raises(DataError, match="0 series of its frame"):
        study.read(file, names=NODE_NAMES)


@pytest.mark.parametrize("turned", [False, True])
def test_of_several_series_named_the_one_whose_slices_fit_counts(
    study: Study, turned: bool
) -> None:
    file = study.structure({"LN": (1, 2, 1)}, grid=PET, series=study.ct)
    data = dcmread(file)
    named = data.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    other = Dataset()
    other.SeriesInstanceUID = study.pet
    named.RTReferencedSeriesSequence.append(other)
    if turned:
        named.RTReferencedSeriesSequence.reverse()
    data.save_as(file)
    assert study.read(file, names=NODE_NAMES)[0].series == study.pet


def test_a_label_of_a_missing_series_is_refused_in_one_line(study: Study) -> None:
    file = study.structure({"LN": (1, 2, 1)}, series="1.2.3.4")
    with pytest.raises(DataError) as error:
        study.read(file, names=NODE_NAMES)
    assert str(error.value) == (
        f"case P1: {file}: the scan that a label was drawn on must be there, found a label of "
        "series 1.2.3.4, and 2 other series; add that series to the folder, or leave the label "
        "file out"
    )


def test_beside_a_label_that_fits_a_missing_series_is_a_note(study: Study) -> None:
    good = study.structure({"LN": (1, 2, 1)}, series=study.ct)
    lost = study.structure({"LN": (5, 6, 1)}, series="1.2.3.4", name="lost.dcm")
    other = study.structure({"Heart": (5, 6, 1)}, series="1.2.3.4", name="other.dcm")
    (label,) = study.read(lost, other, good, names=NODE_NAMES)
    np.testing.assert_array_equal(label.mask, box(1, 2, 1))
    assert len(label.notes) == 1
    assert "lost.dcm" in label.notes[0].text


def test_without_a_table_or_a_match_the_names_are_listed(study: Study) -> None:
    file = study.structure({"Mass": (1, 2, 1), "Heart": (5, 6, 1)}, series=study.ct)
    with pytest.raises(
        DataError, match=r"need a table of names, found regions 'Mass', 'Heart'; say which"
    ):
        study.read(file, names={})
    with pytest.raises(
        DataError, match=r"must match a region, found regions 'Mass', 'Heart'; .*: 1"
    ):
        study.read(file, names=NODE_NAMES)


def test_class_zero_marks_a_patient_without_nodes(study: Study) -> None:
    file = study.structure({"GTVp": (1, 2, 1)}, series=study.ct)
    (label,) = study.read(file, names=NODE_NAMES | {"GTVp": 0})
    assert not label.mask.any()
    assert (label.names, label.left_out) == ({}, ["GTVp"])


def test_a_region_too_thin_for_any_voxel_is_noted(study: Study) -> None:
    file = study.structure({"LN": (1.7, 1.3, 1.5)}, series=study.ct)
    (note,) = study.read(file, names=NODE_NAMES)[0].notes
    assert (note.severity, note.text) == ("warning", "'LN': covers the centre of no voxel")


@pytest.mark.parametrize(
    ("names", "message"), [({"re:GTV(": 1}, "regular"), ({"LN": 255}, "0 to 254")]
)
def test_a_table_that_cannot_be_meant_is_refused(study: Study, names: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        study.read(study.structure({"LN": (1, 2, 1)}), names=names)


def test_files_of_images_are_refused(study: Study) -> None:
    _file(CTImageStorage, "CT").save_as(study.folder / "ct.dcm")
    with pytest.raises(DataError, match="found modality CT"):
        study.read(study.folder / "ct.dcm", names=NODE_NAMES)
    assert study.read(names=NODE_NAMES) == []
