"""Contours fill the voxels whose centre they enclose: as slow geometry and rt-utils have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import Note
from hilum.datasets.dicom.contours import read_contours, roi_names
from hilum.datasets.dicom.polygons import fill_polygons

STRAIGHT = Grid.from_spacing((6, 20, 26), (3.0, 1.5, 1.2), (-11, 7, 100))


def turned(shape: tuple[int, int, int] = (6, 20, 26)) -> Grid:
    """Return an oblique grid with rows towards posterior, as scanners write them."""
    a, b = np.radians(25), np.radians(-14)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = turn @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, -1.2], [0, -1.5, 0], [3.0, 0, 0]])
    affine[:3, 3] = 40, -30, 200
    return Grid(shape, affine)


def structure(
    grid: Grid, contours: list[np.ndarray], name: str = "GTVn", kind: str = "CLOSED_PLANAR"
) -> Dataset:
    """Return an RTSTRUCT of one region from corners in indices of the grid."""
    dataset, roi, region = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, region.ReferencedROINumber = 4, name, 4
    region.ContourSequence = []
    for corners in contours:
        contour = Dataset()
        contour.ContourGeometricType = kind
        points = grid.to_world(corners) * (-1, -1, 1)
        contour.ContourData = [f"{value:.5f}" for value in points.ravel()]
        region.ContourSequence.append(contour)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [region]
    return dataset


def at_depth(depth: float, polygon: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(polygon), depth), polygon])


def masked(dataset: Dataset, grid: Grid) -> tuple[np.ndarray, list[str]]:
    notes: list[Note] = []
    ((number, mask),) = read_contours(dataset, [4], grid, notes)
    assert number == 4
    assert (mask.dtype, mask.shape) == (bool, grid.shape)
    return mask, [note.text for note in notes]


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return fill_polygons(polygons, shape).inside


def circle(row: float, column: float, radius: float, corners: int = 200) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.column_stack([row + radius * np.cos(angle), column + radius * np.sin(angle)])


def inside_slowly(row: float, column: float, polygon: np.ndarray) -> bool:
    """Cast a ray to the right and count crossings, one edge after the other."""
    crossings = 0
    for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if (r0 > row) != (r1 > row) and column < c0 + (row - r0) / (r1 - r0) * (c1 - c0):
            crossings += 1
    return crossings % 2 == 1


@pytest.mark.parametrize("seed", range(12))
def test_polygons_of_any_shape_are_filled_as_by_counting_crossings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Corners at rising angles around a middle: the outline crosses itself nowhere.
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 30))))
    radius = rng.uniform(1, 11, len(angle))
    polygon = np.column_stack([6 + radius * np.cos(angle), 8 + radius * np.sin(angle)])
    expected = np.zeros((13, 17), bool)
    for row, column in np.ndindex(13, 17):
        expected[row, column] = inside_slowly(row, column, polygon)
    np.testing.assert_array_equal(filled([polygon], (13, 17)), expected)


def test_a_centre_is_inside_to_a_thousandth_of_a_voxel() -> None:
    square = np.array([[2.0, 3.0], [2.0, 6.0], [5.0, 6.0], [5.0, 3.0]])
    inner, outer = [[0.01, 0.01], [0.01, -0.01], [-0.01, -0.01], [-0.01, 0.01]], (9, 11)
    assert filled([square + inner], outer).sum() == 2 * 2
    assert filled([square - inner], outer).sum() == 4 * 4
    # Of the edges through centres, the upper and the left one belong to the region.
    assert np.argwhere(filled([square], outer)).tolist() == [
        [row, column] for row in (2, 3, 4) for column in (3, 4, 5)
    ]
    np.testing.assert_array_equal(filled([square[::-1] + 1e-4], outer), filled([square], outer))
    diamond = np.array([[1.0, 4.0], [4.0, 7.0], [7.0, 4.0], [4.0, 1.0]])
    # As many centres as it has area.
    assert filled([diamond], outer).sum() == 18


def test_inner_contours_and_keyholes_are_holes() -> None:
    outer, hole, island = circle(15.3, 15.2, 12), circle(15.3, 15.2, 7), circle(15.3, 15.2, 3)
    rows, columns = np.mgrid[:31, :33]
    away = np.hypot(rows - 15.3, columns - 15.2)
    ring = filled([outer, hole], (31, 33))
    np.testing.assert_array_equal(ring, (away < 12) & (away > 7))
    nested = filled([outer, hole, island], (31, 33))
    np.testing.assert_array_equal(nested, ((away < 12) & (away > 7)) | (away < 3))
    keyhole = np.concatenate([outer, outer[:1], hole[::-1], hole[-1:], outer[:1]])
    np.testing.assert_array_equal(filled([keyhole], (31, 33)), ring)


@pytest.mark.parametrize("grid", [STRAIGHT, turned()])
def test_contours_land_on_their_slices(grid: Grid) -> None:
    contours = [at_depth(d, circle(9.7, 12.4, r)) for d, r in ((1, 5), (2, 7.3), (4, 2.2))]
    mask, notes = masked(structure(grid, contours), grid)
    rows, columns = np.mgrid[:20, :26]
    expected = np.zeros(grid.shape, bool)
    for depth, radius in ((1, 5), (2, 7.3), (4, 2.2)):
        expected[depth] = np.hypot(rows - 9.7, columns - 12.4) < radius
    np.testing.assert_array_equal(mask, expected)
    assert notes == []


def test_slices_may_run_along_any_axis() -> None:
    first = turned()
    sagittal = Grid((20, 26, 6), first.affine[:, [1, 2, 0, 3]])
    data = structure(first, [at_depth(2, circle(9.7, 12.4, 6)), at_depth(3, circle(9, 12, 5))])
    mask, _ = masked(data, sagittal)
    np.testing.assert_array_equal(mask.transpose(2, 0, 1), masked(data, first)[0])


def test_an_ellipsoid_has_its_volume() -> None:
    grid = Grid.from_spacing((40, 90, 100), (1.0, 0.6, 0.5))
    centre, half = np.array([19.3, 44.6, 50.2]), np.array([15.0, 40.0, 44.0])
    contours = []
    for depth in range(40):
        left = 1 - ((depth - centre[0]) / half[0]) ** 2
        if left > 0:
            ring = circle(0, 0, np.sqrt(left), 360) * half[1:] + centre[1:]
            contours.append(at_depth(depth, ring))
    mask, _ = masked(structure(grid, contours), grid)
    volume = 4 / 3 * np.pi * np.prod(half * grid.spacing) / 1000
    assert mask.sum() * grid.voxel_ml == pytest.approx(volume, rel=0.003)


def test_contours_between_slices_go_to_the_nearest_and_are_noted() -> None:
    contours = [at_depth(d, circle(9.7, 12.4, 4)) for d in (1.3, 2.9)]
    mask, notes = masked(structure(STRAIGHT, contours), STRAIGHT)
    assert mask.any((1, 2)).tolist() == [False, True, False, True, False, False]
    assert "2 of 2 contoured planes lie between slices" in notes[0]
    assert "gaps stay empty" in notes[1]


@pytest.mark.parametrize(("near", "far"), [(1.1, 1.4), (0.9, 0.6)])
def test_of_two_planes_near_a_slice_the_nearer_is_taken(near: float, far: float) -> None:
    # Joined by exclusive or, as one plane, they would leave a ring.
    contours = [at_depth(far, circle(9.7, 12.4, 4)), at_depth(near, circle(9.7, 12.4, 6))]
    mask, notes = masked(structure(STRAIGHT, contours), STRAIGHT)
    assert mask.sum() == filled([circle(9.7, 12.4, 6)], (20, 26)).sum()
    assert any("share a slice" in note for note in notes)


def test_points_and_lines_are_left_out_with_a_note() -> None:
    grid = STRAIGHT
    for kind in ("POINT", "OPEN_PLANAR"):
        mask, notes = masked(structure(grid, [at_depth(1, circle(9, 9, 3))], kind=kind), grid)
        assert not mask.any()
        assert notes == [
            "'GTVn': 1 contours are points or open lines",
            "'GTVn': no closed contours",
        ]


@pytest.mark.parametrize("depth", [-0.6, 5.6, 9])
def test_one_contour_beyond_the_slices_is_refused_by_its_position(depth: float) -> None:
    ring = circle(9.7, 12.4, 4)
    with pytest.raises(DataError) as error:
        masked(structure(STRAIGHT, [at_depth(1, ring), at_depth(depth, ring)]), STRAIGHT)
    x, y, z = STRAIGHT.to_world([depth, *ring[0]]) * (-1, -1, 1)
    assert str(error.value) == (
        "contours of 'GTVn' must lie on slices of their scan, found 1 contours outside of the "
        f"scan, of 2, the first at ({x:.2f}, {y:.2f}, {z:.2f}); import the scan that was "
        "contoured, with all of its slices"
    )
    near = np.clip(depth, -0.4, 5.4)
    mask, _ = masked(structure(STRAIGHT, [at_depth(1, ring), at_depth(near, ring)]), STRAIGHT)
    assert mask.any((1, 2)).sum() == 2


def test_contours_beyond_the_edge_are_cut_with_a_note() -> None:
    mask, notes = masked(structure(STRAIGHT, [at_depth(1, circle(2, 3, 5))]), STRAIGHT)
    assert mask.any()
    assert "cut there" in notes[0]


def test_contours_across_the_slices_are_refused() -> None:
    ring = circle(0, 0, 4)
    steep = np.column_stack([2 + ring[:, 0] * 0.3, ring + 10])
    with pytest.raises(DataError, match="1 contours across the slices, of 1"):
        masked(structure(STRAIGHT, [steep]), STRAIGHT)
    # One among others is no less a hole in the mask.
    flat = [at_depth(d, circle(9.7, 12.4, 4)) for d in (1, 2, 3)]
    with pytest.raises(DataError, match="1 contours across the slices, of 4"):
        masked(structure(STRAIGHT, [*flat, steep]), STRAIGHT)


@pytest.mark.parametrize("values", [["1", "2"], ["1", "2", "nan"], []])
def test_damaged_contours_are_refused(values: list[str]) -> None:
    data = structure(STRAIGHT, [at_depth(1, circle(9, 9, 3))])
    contour = data.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [float(value) for value in values]
    with pytest.raises(DataError, match=r"P1.*x, y, z of each corner"):
        list(read_contours(data, [4], STRAIGHT, [], file=Path("rs.dcm"), case="P1"))


def test_a_region_without_contours_is_empty() -> None:
    data = structure(STRAIGHT, [])
    assert not masked(data, STRAIGHT)[0].any()
    del data.ROIContourSequence
    assert not masked(data, STRAIGHT)[0].any()
    assert roi_names(data) == {4: "GTVn"}


def write_scan(folder: Path, grid: Grid) -> None:
    """Write a CT of zeros whose slices are those of the grid."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    _, height, width = grid.affine[:3, :3].T / np.array(grid.spacing)[:, None] * (-1, -1, 1)
    for index in range(grid.shape[0]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
            ExplicitVRLittleEndian,
            CTImageStorage,
        )
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ct = FileDataset(folder / f"{index}.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.FrameOfReferenceUID = study, series, frame
        ct.Modality, ct.PatientID, ct.PatientName, ct.InstanceNumber = "CT", "P", "P", index + 1
        ct.StudyDate = ct.StudyTime = ct.PatientBirthDate = ct.PatientSex = ct.StudyID = ""
        ct.ImageOrientationPatient = [f"{v:.8f}" for v in (*width, *height)]
        place = grid.to_world([index, 0, 0]) * (-1, -1, 1)
        ct.ImagePositionPatient = [f"{v:.6f}" for v in place]
        ct.PixelSpacing, ct.SliceThickness = [grid.spacing[1], grid.spacing[2]], grid.spacing[0]
        ct.Rows, ct.Columns = grid.shape[1:]
        ct.SamplesPerPixel, ct.PhotometricInterpretation = 1, "MONOCHROME2"
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 1
        ct.PixelData = np.zeros(grid.shape[1:], np.int16).tobytes()
        ct.save_as(folder / f"{index}.dcm")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("pin_hole", [False, True])
def test_masks_survive_rt_utils(tmp_path: Path, pin_hole: bool) -> None:
    rt_utils = pytest.importorskip("rt_utils")
    # Square pixels: rt-utils swaps the two spacings.
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -1.1], [0, -1.1, 0], [2.5, 0, 0]]
    grid = Grid((5, 40, 52), affine)
    write_scan(tmp_path, grid)
    rows, columns = np.mgrid[:40, :52]
    mask = np.zeros(grid.shape, bool)
    mask[1] = np.hypot(rows - 20, columns - 25) < 12
    mask[2] = mask[1] & (np.hypot(rows - 18, columns - 24) > 5)
    mask[2] |= np.hypot(rows - 33, columns - 45) < 4
    mask[3, 5:9, 30:50] = True
    builder = rt_utils.RTStructBuilder.create_new(dicom_series_path=str(tmp_path))
    builder.add_roi(mask=mask.transpose(1, 2, 0), name="GTVn", use_pin_hole=pin_hole)
    notes: list[Note] = []
    # rt-utils traces the outermost voxels through their centres.
    ((_, found),) = read_contours(builder.ds, [1], grid, notes, edge="inside")
    assert {note.severity for note in notes} <= {"info"}
    dice = 2 * (found & mask).sum() / (found.sum() + mask.sum())
    assert dice > (0.97 if pin_hole else 0.999)
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], mask[[0, 1, 3, 4]])
    ((_, half),) = read_contours(builder.ds, [1], grid, notes)
    assert half.sum() < found.sum()
    assert "edge=inside" in notes[-1].text
