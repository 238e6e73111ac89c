"""Label files that are damaged, or none at all, are refused in one line that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.dicom.labels import label_names, read_labels

GRID = Grid.from_spacing((3, 7, 9), (4.0, 2.0, 1.5))
FRAME, SERIES = generate_uid(), generate_uid()


def empty(modality: str, syntax: UID = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = syntax, generate_uid()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    data.Modality, data.FrameOfReferenceUID = modality, FRAME
    return data


def contours(syntax: UID = ExplicitVRLittleEndian) -> FileDataset:
    """Return an RTSTRUCT of a square on slice 1, rows 2 to 4, columns 3 to 6."""
    data, roi, region, contour = empty("RTSTRUCT", syntax), Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, region.ReferencedROINumber = 1, "LN", 1
    contour.ContourGeometricType = "CLOSED_PLANAR"
    corners = GRID.to_world(
        np.array([(1, 1.5, 2.5), (1, 4.5, 2.5), (1, 4.5, 6.5), (1, 1.5, 6.5)])
    ) * (-1, -1, 1)
    contour.ContourData = corners.ravel().tolist()
    region.ContourSequence = [contour]
    data.StructureSetROISequence, data.ROIContourSequence = [roi], [region]
    return data


def segment() -> FileDataset:
    """Return a SEG of one marked frame on slice 1."""
    data = empty("SEG")
    item, shared, frame, place, turn, size, mine = (Dataset() for _ in range(7))
    item.SegmentNumber, item.SegmentLabel = 1, "Lymph node"
    data.SegmentSequence, data.SegmentationType = [item], "BINARY"
    place.ImagePositionPatient = (GRID.to_world([1, 0, 0]) * (-1, -1, 1)).tolist()
    turn.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    size.PixelSpacing, mine.ReferencedSegmentNumber = [2, 1.5], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
    frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [mine]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [frame]
    data.Rows, data.Columns, data.NumberOfFrames = 7, 9, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 1, 0, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelData = np.packbits(np.ones(63, np.uint8), bitorder="little").tobytes()
    return data


def read(file: Path) -> np.ndarray:
    header = Dataset()
    header.SOPInstanceUID, header.FrameOfReferenceUID = generate_uid(), FRAME
    (label,) = read_labels([file], {SERIES: (GRID, [header])}, {"l*": 1}, "P1")
    return label.mask


def delete(*keys: str | int) -> Callable[[Dataset], None]:
    """Return what deletes the last of these keywords, reached by the others."""

    def edit(data: Dataset) -> None:
        item: object = data
        for key in keys[:-1]:
            item = item[int(key)] if isinstance(item, Sequence) else getattr(item, str(key))
        delattr(item, str(keys[-1]))

    return edit


def put(key: str, value: object) -> Callable[[Dataset], None]:
    return lambda data: setattr(data, key, value)


CONTOURS = {
    "region without number": delete("StructureSetROISequence", 0, "ROINumber"),
    "contours of no region": delete("ROIContourSequence", 0, "ReferencedROINumber"),
    "contour without points": delete("ROIContourSequence", 0, "ContourSequence", 0, "ContourData"),
    "no regions": delete("StructureSetROISequence"),
    "another modality": put("Modality", "RTDOSE"),
    "no modality": delete("Modality"),
    "another frame of reference": put("FrameOfReferenceUID", "1.2.3"),
}
_FRAME = ("PerFrameFunctionalGroupsSequence", 0)
_SHARED = ("SharedFunctionalGroupsSequence", 0)
SEGMENTS = {
    "segment without number": delete("SegmentSequence", 0, "SegmentNumber"),
    "no segments": delete("SegmentSequence"),
    "no kind": delete("SegmentationType"),
    "unknown kind": put("SegmentationType", "SURFACE"),
    "fractional without maximum": put("SegmentationType", "FRACTIONAL"),
    "frame without place": delete(*_FRAME, "PlanePositionSequence"),
    "frame without segment": delete(*_FRAME, "SegmentIdentificationSequence"),
    "no orientation": delete(*_SHARED, "PlaneOrientationSequence"),
    "no spacing": delete(*_SHARED, "PixelMeasuresSequence", 0, "PixelSpacing"),
    "no shared groups": delete("SharedFunctionalGroupsSequence"),
    "no frames": put("PerFrameFunctionalGroupsSequence", []),
    "no pixels": delete("PixelData"),
    "too few pixels": put("PixelData", b"\1\2"),
    "no rows": delete("Rows"),
    "zero rows": put("Rows", 0),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "edit"),
    [(contours, edit) for edit in CONTOURS.values()] + [(segment, e) for e in SEGMENTS.values()],
    ids=[*CONTOURS, *SEGMENTS],
)
def test_what_is_damaged_is_refused_by_case_and_file(
    tmp_path: Path, make: Callable[[], FileDataset], edit: Callable[[Dataset], None]
) -> None:
    file, data = tmp_path / "label.dcm", make()
    data.save_as(file)
    assert read(file).any()
    edit(data)
    data.save_as(file)
    with pytest.raises(DataError) as error:
        read(file)
    assert str(error.value).startswith(f"case P1: {file}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 3, 200, 400])
def test_what_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "label.dcm"
    contours().save_as(file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"case P1: .*label\.dcm"):
        read(file)


@pytest.mark.parametrize("content", [b"nothing at all", b"PK\3\4" + bytes(range(256)) * 8, b"{}"])
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "label.dcm"
    file.write_bytes(content)
    with pytest.raises(DataError, match="a label must be DICOM"):
        read(file)


def test_a_file_without_the_preamble_is_read(tmp_path: Path) -> None:
    # As the crawl reads scans; without it, the syntax can only be the default one.
    file = tmp_path / "label.dcm"
    contours(ImplicitVRLittleEndian).save_as(file)
    whole = read(file)
    data = contours(ImplicitVRLittleEndian)
    del data.file_meta
    data.preamble = None
    data.save_as(file, implicit_vr=True, little_endian=True)
    assert file.read_bytes()[128:132] != b"DICM"
    assert label_names(file) == ["LN"]
    np.testing.assert_array_equal(read(file), whole)
    assert whole.sum() == 3 * 4
