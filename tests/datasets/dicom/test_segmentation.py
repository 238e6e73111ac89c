"""Segments that highdicom writes come back voxel for voxel, wherever and however they lie."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.enum import CoordinateSystemNames
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import Note
from hilum.datasets.dicom.segmentation import read_segments, segment_names

AFFINE = np.array([[0, 0, -1.2, 40], [0, -1.5, 0, -30], [3.0, 0, 0, 200], [0, 0, 0, 1.0]])
GRID = Grid((6, 9, 11), AFFINE)


def scan(grid: Grid = GRID) -> list[Dataset]:
    """Return the slices of a CT of zeros."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    _, height, width = grid.affine[:3, :3].T / np.array(grid.spacing)[:, None] * (-1, -1, 1)
    slices: list[Dataset] = []
    for index in range(grid.shape[0]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
            ExplicitVRLittleEndian,
            CTImageStorage,
        )
        ct = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, generate_uid()
        ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.FrameOfReferenceUID = study, series, frame
        ct.Modality, ct.PatientID, ct.PatientName, ct.InstanceNumber = "CT", "P", "P^P", index + 1
        ct.StudyDate = ct.StudyTime = ct.PatientBirthDate = ct.PatientSex = ct.StudyID = ""
        ct.AccessionNumber = ct.ReferringPhysicianName = ""
        ct.ImageOrientationPatient = [f"{v:.8f}" for v in (*width, *height)]
        place = grid.to_world([index, 0, 0]) * (-1, -1, 1)
        ct.ImagePositionPatient = [f"{v:.6f}" for v in place]
        ct.PixelSpacing, ct.SliceThickness = [grid.spacing[1], grid.spacing[2]], grid.spacing[0]
        ct.Rows, ct.Columns = grid.shape[1:]
        ct.SamplesPerPixel, ct.PhotometricInterpretation = 1, "MONOCHROME2"
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 1
        ct.PixelData = np.zeros(grid.shape[1:], np.int16).tobytes()
        slices.append(ct)
    return slices


def labels(seed: int = 0, shape: tuple[int, int, int] = GRID.shape) -> np.ndarray:
    """Return segments 1 and 2 in noise; slices 0 and 3 are empty."""
    array = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    array[[0, 3]] = 0
    return array


def segmentation(slices: list[Dataset], array: np.ndarray, kind: str, **more: object) -> Dataset:
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.LymphNode,
            algorithm_type="MANUAL",
        )
        for number, name in ((1, "GTVn"), (2, "Segment_2"))
    ]
    return Segmentation(
        source_images=slices,
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="M",
        manufacturer_model_name="M",
        software_versions="1",
        device_serial_number="1",
        **more,  # pyright: ignore[reportArgumentType]
    )


def read(dataset: Dataset, grid: Grid = GRID) -> tuple[np.ndarray, list[str]]:
    """Return the segments as one array, the later number on top."""
    notes: list[Note] = []
    found = np.zeros(grid.shape, np.uint8)
    for number, mask in read_segments(dataset, [1, 2], grid, notes):
        assert (mask.dtype, mask.shape) == (bool, grid.shape)
        found[mask] = number
    return found, [note.text for note in notes]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
def test_segments_come_back(tmp_path: Path, kind: str, omit: bool) -> None:
    data = segmentation(scan(), labels(), kind, omit_empty_frames=omit)
    data.save_as(tmp_path / "seg.dcm")
    found, notes = read(dcmread(tmp_path / "seg.dcm"))
    np.testing.assert_array_equal(found, labels())
    assert notes == []
    assert segment_names(data) == {1: "GTVn", 2: "Lymph Node"}


def test_fractions_count_from_one_half(tmp_path: Path) -> None:
    fractions = np.zeros((*GRID.shape, 2))
    fractions[2, 3, 4:8, 0] = 0.2, 0.49, 0.51, 1
    fractions[4, 3, 4:8, 1] = 1, 0.6, 0.4, 0
    for most in (255, 200):
        data = segmentation(scan(), fractions, "FRACTIONAL", max_fractional_value=most)
        data.save_as(tmp_path / "seg.dcm")
        found, notes = read(dcmread(tmp_path / "seg.dcm"))
        assert np.argwhere(found == 1).tolist() == [[2, 3, 6], [2, 3, 7]]
        assert np.argwhere(found == 2).tolist() == [[4, 3, 4], [4, 3, 5]]
        assert notes == ["fractional segments: 0.5 and more of the maximum is inside"]


def test_compressed_frames_are_read(tmp_path: Path) -> None:
    syntax = "1.2.840.10008.1.2.5"
    data = segmentation(scan(), labels(), "LABELMAP", transfer_syntax_uid=syntax)
    data.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read(dcmread(tmp_path / "seg.dcm"))[0], labels())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_order_and_number_of_frames_do_not_matter(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    slices = scan()
    order = rng.permutation(6)[: int(rng.integers(1, 7))]
    array = labels(seed)
    data = segmentation([slices[i] for i in order], np.maximum(array[order], 1), kind)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[order] = np.maximum(array[order], 1)
    found, _ = read(data)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("flips", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_a_scan_kept_in_another_orientation_gets_its_own_voxels(flips: tuple[int, ...]) -> None:
    # The volume was flipped on its way in; the SEG follows the files.
    affine = GRID.affine.copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (GRID.shape[axis] - 1)
            affine[:3, axis] *= -1
    axes = [axis for axis, flip in enumerate(flips) if flip]
    found, notes = read(segmentation(scan(), labels(), "BINARY"), Grid(GRID.shape, affine))
    np.testing.assert_array_equal(found, np.flip(labels(), tuple(axes)))
    assert notes == []


def test_slices_may_be_any_axis_of_the_grid() -> None:
    grid = Grid((9, 11, 6), AFFINE[:, [1, 2, 0, 3]])
    found, _ = read(segmentation(scan(), labels(), "BINARY"), grid)
    np.testing.assert_array_equal(found, labels().transpose(1, 2, 0))


def test_an_oblique_scan_is_matched() -> None:
    a = np.radians(20)
    affine = AFFINE.copy()
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine[:3, :3] = turn @ AFFINE[:3, :3]
    grid = Grid(GRID.shape, affine)
    found, notes = read(segmentation(scan(grid), labels(), "BINARY"), grid)
    np.testing.assert_array_equal(found, labels())
    assert notes == []


def test_a_frame_belongs_to_the_slice_within_half_a_thickness() -> None:
    data = segmentation(scan(), labels(), "LABELMAP")
    for shift, moved in ((1.4, 0), (-1.4, 0), (1.6, 1)):
        shifted = AFFINE.copy()
        shifted[2, 3] -= shift
        # A slice more, for the last of those that move.
        found, notes = read(data, Grid((7, 9, 11), shifted))
        np.testing.assert_array_equal(found[moved : moved + 6], labels())
        assert notes[0] == "'GTVn': frames lie up to 1.40 mm beside their slices"


def test_what_lies_outside_of_the_scan_is_noted_or_refused() -> None:
    data = segmentation(scan(), labels(), "BINARY")
    # Slices 0 and 3 are empty and may be missing, others may not.
    inner = GRID.crop((1, 2, 3), (5, 5, 6))
    found, notes = read(data, inner)
    np.testing.assert_array_equal(found, labels()[1:, 2:7, 3:9])
    share = (labels()[1:, 2:7, 3:9] == 1).sum() / (labels() == 1).sum()
    assert notes[0] == f"'GTVn': {1 - share:.1%} of its voxels lie outside of the scan; left out"
    outer, _ = read(data, GRID.crop((-1, -2, -3), (9, 14, 16)))
    np.testing.assert_array_equal(outer[1:7, 2:11, 3:14], labels())
    assert (outer > 0).sum() == (labels() > 0).sum()
    with pytest.raises(DataError, match=r"segment 'GTVn' must lie in its scan"):
        read(data, GRID.crop((0, 40, 0), GRID.shape))


@pytest.mark.parametrize(
    ("moved", "stretched", "told"),
    [
        (0.0, 1.0, ""),
        (0.05, 1.0, ""),
        (0.0, 1.005, ""),
        (0.2, 1.0, "0.20 mm"),
        (-0.2, 1.0, "0.20 mm"),
        (0.0, 1.015, "0.18 mm"),
    ],
)
def test_voxels_that_lie_beside_those_of_the_scan_are_noted_above_the_one_tolerance(
    moved: float, stretched: float, told: str
) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, 2] / np.linalg.norm(affine[:3, 2]) * moved
    affine[:3, 2] *= stretched
    found, notes = read(segmentation(scan(), labels(), "BINARY"), Grid(GRID.shape, affine))
    np.testing.assert_array_equal(found, labels())
    beside = [note for note in notes if "beside the scan's" in note]
    assert len(beside) == (2 if told else 0), "a note for each segment"
    assert all(told in note for note in beside)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_marked_frame_without_a_slice_is_refused_by_its_position(kind: str) -> None:
    data = segmentation(scan(), labels(), kind)
    with pytest.raises(DataError) as error:
        read(data, GRID.crop((0, 0, 0), (5, 9, 11)))
    assert str(error.value) == (
        "the segment 'GTVn' must lie on slices of its scan, found 1 of 4 marked frames on none, "
        "the first at ImagePositionPatient (-40.00, 30.00, 215.00); import the scan that was "
        "segmented, with all of its slices"
    )


def test_slices_of_another_distance_leave_no_stripes() -> None:
    # 1.3 times finer: pasted to the nearest slice, every fourth would stay empty.
    affine = AFFINE.copy()
    affine[:3, 0] /= 1.3
    array = np.ones(GRID.shape, np.uint8)
    found, notes = read(segmentation(scan(), array, "BINARY"), Grid((7, 9, 11), affine))
    assert (found == 1).all()
    assert "drawn on another grid" in notes[0]


def test_frames_left_out_do_not_stretch_the_others() -> None:
    data, coarse = finer("BINARY")
    empty = np.ones(12, bool)
    empty[[2, 5, 9]] = False
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    fine[empty] = 0
    sparse, _ = finer("BINARY", fine)
    assert len(sparse.PerFrameFunctionalGroupsSequence) < len(data.PerFrameFunctionalGroupsSequence)
    # Gaps of 3 and 4 planes of 1.5 mm: their distance is in the header alone.
    sparse.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 1.5
    grid = GRID.with_spacing((1.5, 3.0, 2.4))
    found, _ = read(sparse, grid)
    assert found.any((1, 2)).tolist() == (~empty).tolist()


@pytest.mark.parametrize("numbers", [[1], [2], [2, 1]])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_few_segments_are_read_as_all_are(kind: str, numbers: list[int]) -> None:
    # 99 pixels of one bit: frames begin and end within bytes.
    data = segmentation(scan(), labels(), kind)
    for number, mask in read_segments(data, numbers, GRID, []):
        np.testing.assert_array_equal(mask, labels() == number)


def finer(kind: str, fine: np.ndarray | None = None) -> tuple[Dataset, np.ndarray]:
    """Return a SEG of half the scan's spacing along every axis, and the scan's own mask."""
    coarse = labels(3)
    if fine is None:
        fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    grid = GRID.with_spacing((1.5, 0.75, 0.6))
    step = grid.affine[:3, :3] / grid.spacing * np.array([-1, -1, 1])[:, None]
    places = [(grid.to_world([i, 0, 0]) * (-1, -1, 1)).tolist() for i in range(12)]
    data = segmentation(
        scan(),
        fine,
        kind,
        pixel_measures=PixelMeasuresSequence((0.75, 0.6), 1.5),
        plane_orientation=PlaneOrientationSequence(
            CoordinateSystemNames.PATIENT, [*step[:, 2], *step[:, 1]]
        ),
        plane_positions=[PlanePositionSequence(CoordinateSystemNames.PATIENT, p) for p in places],
    )
    return data, coarse


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_another_grid_is_resampled_to_the_nearest_voxel(kind: str) -> None:
    data, coarse = finer(kind)
    found, notes = read(data)
    np.testing.assert_array_equal(found, coarse)
    assert "drawn on another grid" in notes[0]


def test_unevenly_spaced_frames_of_another_grid_are_refused() -> None:
    data, _ = finer("LABELMAP")
    place = data.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0]
    place.ImagePositionPatient[2] += 0.4
    with pytest.raises(DataError, match="must have evenly spaced frames"):
        read(data)


def test_damaged_files_are_refused() -> None:
    data = segmentation(scan(), labels(), "BINARY")
    del data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with pytest.raises(DataError, match="whole frames with a place"):
        read(data)
    data = segmentation(scan(), labels(), "BINARY")
    data.PixelData = data.PixelData[:20]
    with pytest.raises(DataError, match="whole frames"):
        read(data)
    empty = segmentation(scan(), labels() * 0 + 1, "BINARY")
    assert "'Lymph Node': no frames" in read(empty)[1]
    assert highdicom.__version__
