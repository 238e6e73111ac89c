"""A DICOM SEG holds the mask that was written, on the slices of its scan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.dicom.labels import NODE_NAMES, read_labels
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.io.nifti import read_label
from hilum.exchange.dicom_out.regions import regions
from hilum.exchange.dicom_out.scan import find_scan
from hilum.exchange.dicom_out.seg import write_seg

REAL = Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))


def by_hand(file: Path, folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the segment number of each voxel, by the tags of each frame alone."""
    seg = dcmread(file)
    order = {str(dcmread(f).SOPInstanceUID): i for i, f in enumerate(sorted(folder.iterdir()))}
    found = np.zeros(shape, int)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, image in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        found[order[source.ReferencedSOPInstanceUID]][image > 0] = number
    return found


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("turn", ["STRAIGHT", "SLANTED"])
def test_every_voxel_comes_back_at_its_slice(
    ct: ModuleType, tmp_path: Path, turn: str, descending: bool
) -> None:
    mask = ct.blobs()
    ct.write_ct(tmp_path / "ct", turn=getattr(ct, turn), descending=descending)
    grid = ct.grid_of(tmp_path / "ct")
    file = write_seg(mask, grid, tmp_path / "ct", tmp_path / "out" / "seg.dcm")
    labels, rows = regions(mask, grid)
    in_files = labels[::-1] if descending else labels
    np.testing.assert_array_equal(by_hand(file, tmp_path / "ct", mask.shape), in_files)
    assert [row.voxels for row in rows] == sorted((row.voxels for row in rows), reverse=True)
    headers = read_slices(sorted((tmp_path / "ct").iterdir())).headers
    (ours,) = read_labels([file], {"1.2.3.1": (grid, headers)}, NODE_NAMES)
    np.testing.assert_array_equal(ours.mask, mask > 0)
    assert ours.notes == []


def test_segments_are_named_coloured_and_coded(ct: ModuleType, tmp_path: Path) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct")
    file = write_seg(ct.blobs(), grid, tmp_path / "ct", tmp_path / "seg.dcm", algorithm="mine")
    seg = highdicom.seg.segread(file)
    descriptions = [seg.get_segment_description(n) for n in seg.segment_numbers]
    assert [d.segment_label for d in descriptions] == [f"Lymph node {n}" for n in (1, 2, 3)]
    one = seg.get_segment_description(1)
    assert one.segmented_property_type.value == "59441001"
    assert one.segmented_property_type.scheme_designator == "SCT"
    assert one.algorithm_identification is not None
    assert one.algorithm_identification.name == "mine"
    assert len({tuple(d.RecommendedDisplayCIELabValue) for d in seg.SegmentSequence}) == 3
    assert len({d.tracking_uid for d in descriptions}) == 3
    assert seg.PatientID == "P1"
    assert seg.StudyInstanceUID == "1.2.3"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.1"


def test_classes_are_one_segment_each_and_unknown_voxels_none(
    ct: ModuleType, tmp_path: Path
) -> None:
    mask = ct.blobs()
    mask[0, 0, :4] = 2
    mask[4, 8, 10] = 255
    ct.write_ct(tmp_path / "ct")
    file = write_seg(
        mask, ct.grid_of(tmp_path / "ct"), tmp_path / "ct", tmp_path / "seg.dcm",
        segments="classes", names={1: "GTVn", 2: "Tumour"},
    )  # fmt: skip
    expected = np.where(mask == 255, 0, mask)
    np.testing.assert_array_equal(by_hand(file, tmp_path / "ct", mask.shape), expected)
    seg = highdicom.seg.segread(file)
    descriptions = [seg.get_segment_description(n) for n in seg.segment_numbers]
    types = [d.segmented_property_type.meaning for d in descriptions]
    assert types == ["Lymph Node", "Neoplasm"]


def test_the_same_mask_has_the_same_uids_and_another_mask_has_others(
    ct: ModuleType, tmp_path: Path
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct")
    other = ct.blobs()
    other[0, 0, 0] = 1
    files = [
        write_seg(mask, grid, tmp_path / "ct", tmp_path / f"{i}.dcm")
        for i, mask in enumerate((ct.blobs(), ct.blobs(), other))
    ]
    uids = [dcmread(file).SOPInstanceUID for file in files]
    assert uids[0] == uids[1] != uids[2]
    assert len(uids[0]) <= 64


def test_turned_and_cropped_masks_are_moved_without_interpolation(
    ct: ModuleType, tmp_path: Path
) -> None:
    ct.write_ct(tmp_path / "ct", turn=ct.SLANTED)
    grid = ct.grid_of(tmp_path / "ct")
    mask = ct.blobs()
    mask[5] = 0
    affine = grid.affine.copy()
    affine[:, :3] = grid.affine[:, [2, 0, 1]]
    affine[:3, 3] += grid.affine[:3, 1] * (grid.shape[1] - 1)
    affine[:3, 2] *= -1
    turned = mask.transpose(2, 0, 1)[:, :, ::-1]
    cut = grid.crop((0, 1, 1), (5, 8, 9))
    files = [
        write_seg(mask, grid, tmp_path / "ct", tmp_path / "a.dcm"),
        write_seg(turned, Grid(turned.shape, affine), tmp_path / "ct", tmp_path / "b.dcm"),  # pyright: ignore[reportArgumentType]
        write_seg(mask[:5, 1:9, 1:10], cut, tmp_path / "ct", tmp_path / "c.dcm"),
    ]
    one, two, three = (by_hand(f, tmp_path / "ct", mask.shape) for f in files)
    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(three, one)


@pytest.mark.slow
def test_more_than_255_nodes_keep_their_numbers(ct: ModuleType, tmp_path: Path) -> None:
    mask = np.zeros((6, 30, 36), np.uint8)
    mask[::2, ::2, ::2] = 1
    ct.write_ct(tmp_path / "ct", shape=(6, 30, 36))
    file = write_seg(mask, ct.grid_of(tmp_path / "ct"), tmp_path / "ct", tmp_path / "seg.dcm")
    found = by_hand(file, tmp_path / "ct", mask.shape)
    assert len(np.unique(found)) == int(mask.sum()) + 1 == 811
    np.testing.assert_array_equal(found > 0, mask > 0)


def lose_a_slice(ct: ModuleType, folder: Path) -> None:
    sorted(folder.iterdir())[2].unlink()


def lose_all(ct: ModuleType, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def another_series(ct: ModuleType, folder: Path) -> None:
    ct.write_ct(folder / "again", uid="1.2.3.7", description="lung")


def two_others(ct: ModuleType, folder: Path) -> None:
    lose_all(ct, folder)
    ct.write_ct(folder / "a", uid="1.2.3.7", shape=(7, 10, 9))
    ct.write_ct(folder / "b", uid="1.2.3.8", turn=ct.SLANTED)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_a_slice, "no slice may be missing"),
        (lose_all, "must hold a CT series.*no DICOM series"),
        (another_series, r"one series only.*series 1 'CT' \(1.2.3.1\); series 7 'lung'.*name one"),
        (two_others, r"must lie on one of the CT series.*1.2.3.7.*1.2.3.8.*outside of series 7"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    ct: ModuleType, tmp_path: Path, harm: Callable[[ModuleType, Path], None], message: str
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct")
    harm(ct, tmp_path / "ct")
    with pytest.raises(DataError, match=message):
        write_seg(ct.blobs(), grid, tmp_path / "ct", tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_of_several_series_one_is_taken_by_its_uid_or_its_grid(
    ct: ModuleType, tmp_path: Path
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct")
    ct.write_ct(tmp_path / "ct" / "thin", uid="1.2.3.8", shape=(9, 10, 12))
    file = write_seg(ct.blobs(), grid, tmp_path / "ct", tmp_path / "seg.dcm")
    assert dcmread(file).ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.1"
    ct.write_ct(tmp_path / "ct" / "again", uid="1.2.3.7")
    file = write_seg(ct.blobs(), grid, tmp_path / "ct", tmp_path / "seg.dcm", series="1.2.3.7")
    assert dcmread(file).ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.7"
    with pytest.raises(DataError, match=r"must hold series 1\.9"):
        write_seg(ct.blobs(), grid, tmp_path / "ct", tmp_path / "seg.dcm", series="1.9")


@pytest.mark.parametrize("what", ["shifted", "spacing", "empty", "floats", "shape"])
def test_a_mask_that_is_not_of_the_scan_is_refused(
    ct: ModuleType, tmp_path: Path, what: str
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid, mask = ct.grid_of(tmp_path / "ct"), ct.blobs()
    if what == "shifted":
        affine = grid.affine.copy()
        affine[0, 3] += 0.4
        grid = Grid(grid.shape, affine)
    elif what == "spacing":
        grid = Grid(grid.shape, grid.with_spacing((3.0, 2.0, 1.6)).affine)
    mask = {"empty": mask * 0, "floats": mask + 0.5, "shape": mask[1:]}.get(what, mask)
    messages = {"empty": "must mark something", "floats": "whole numbers", "shape": "the shape"}
    with pytest.raises(DataError, match=messages.get(what, "on the grid of series 1")):
        write_seg(mask, grid, tmp_path / "ct", tmp_path / "seg.dcm")


def _rounded(grid: Grid) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 2] *= 1 + 0.004 / 1.5
    affine[0, 3] += 0.03
    return Grid(grid.shape, affine)


BOXES = {
    "itself": lambda grid: grid,
    "spacing and origin rounded": _rounded,
    "a row more before": lambda grid: grid.crop((0, -1, 0), (6, 11, 12)),
    "a row and a slice more after": lambda grid: grid.crop((0, 0, 0), (7, 11, 12)),
    "a sub-box": lambda grid: grid.crop((1, 1, 1), (5, 9, 10)),
    "canonical axes": lambda grid: grid.canonical()[0],
    "canonical axes of a larger box": lambda grid: grid.crop(
        (-2, -2, -2), (11, 15, 17)
    ).canonical()[0],
}


@pytest.mark.parametrize("name", BOXES)
def test_a_mask_on_the_lattice_of_the_scan_goes_onto_its_slices(
    ct: ModuleType, tmp_path: Path, name: str
) -> None:
    ct.write_ct(tmp_path / "ct")
    scan, marked = ct.grid_of(tmp_path / "ct"), ct.blobs()
    grid = BOXES[name](scan)
    mask = np.zeros(grid.shape, np.uint8)
    place = grid.to_index(scan.to_world(np.argwhere(marked)))
    mask[tuple(np.round(place).astype(int).T)] = 1
    found = find_scan(mask, grid, tmp_path / "ct")
    np.testing.assert_array_equal(found.mask, marked)


def test_marked_voxels_beside_the_scan_are_refused_with_their_number(
    ct: ModuleType, tmp_path: Path
) -> None:
    ct.write_ct(tmp_path / "ct")
    grid = ct.grid_of(tmp_path / "ct").crop((0, -1, 0), (6, 11, 12))
    mask = np.zeros(grid.shape, np.uint8)
    mask[2, 0, 3], mask[2, 4, 3] = 1, 1
    with pytest.raises(DataError, match=r"1 of 2 marked voxels \(0.009 ml\) outside"):
        write_seg(mask, grid, tmp_path / "ct", tmp_path / "seg.dcm")


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "dicom").is_dir(), reason="no real patients here")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_tumour_of_a_real_patient_comes_back(ct: ModuleType, tmp_path: Path) -> None:
    folder = REAL / "dicom/STS_007/CT/image"
    label = read_label(REAL / "cases/STS_007/label.nii.gz")
    file = write_seg(label.array, label.grid, folder, tmp_path / "seg.dcm", segments="classes")
    scan = read_slices(sorted(folder.iterdir()))
    series = {str(scan.headers[0].SeriesInstanceUID): (scan.grid, scan.headers)}
    (ours,) = read_labels([file], series, NODE_NAMES)
    assert int(ours.mask.sum()) == int(label.array.sum())
    place = label.grid.to_index(scan.grid.to_world(np.argwhere(ours.mask)))
    index = np.round(place).astype(int)
    np.testing.assert_allclose(place, index, atol=0.02)
    assert label.array[tuple(index.T)].all()
