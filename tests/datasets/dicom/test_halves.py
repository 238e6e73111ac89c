"""One rule for halves, up, wherever a position becomes an index; and half-open regions."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest

from hilum.core.geometry import Grid, nearest_index
from hilum.core.notes import Note
from hilum.datasets.dicom.contours import read_contours, slices_of
from hilum.datasets.dicom.polygons import fill_polygons
from hilum.datasets.io.resampling import resample

from .test_contours import STRAIGHT, at_depth, circle, structure, turned


def half_up(value: float) -> int:
    """Round by exact fractions, one number at a time."""
    return floor(Fraction(value) + Fraction(1, 2))


@pytest.mark.parametrize("value", [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49, -0.51, 7.0, 8.51])
def test_the_rule(value: float) -> None:
    assert int(nearest_index(value)) == half_up(value)
    # A half that lost a digit on its way through a file is a half.
    assert int(nearest_index(value - 1e-5)) == half_up(value)


def mask_of(depths: list[float], grid: Grid = STRAIGHT) -> tuple[np.ndarray, list[Note]]:
    notes: list[Note] = []
    contours = [at_depth(d, circle(9.7, 12.4, 4)) for d in depths]
    ((_, mask),) = read_contours(structure(grid, contours), [4], grid, notes)
    return mask, notes


PLANES = {
    "half a slice off": ([0.5, 1.5, 2.5, 3.5], [1, 2, 3, 4]),
    "half a slice below the first": ([-0.5, 0.5, 1.5], [0, 1, 2]),
    "half a slice, with noise": ([0.4996, 1.5003, 2.4998, 3.5004], [1, 2, 3, 4]),
    "nearly half a slice": ([0.45, 1.45, 2.45], [0, 1, 2]),
    "just over half a slice": ([0.55, 1.55, 2.55], [1, 2, 3]),
    "a third of a slice": ([0.33, 1.33, 2.33], [0, 1, 2]),
    "on the slices": ([1, 2, 3], [1, 2, 3]),
    "thinner than the slices": ([0.5, 1.0, 1.5, 2.0], [1, 2]),
    "thicker than the slices": ([0.5, 2.5, 4.5], [1, 3, 5]),
}


@pytest.mark.parametrize("grid", [STRAIGHT, turned()], ids=["straight", "oblique"])
@pytest.mark.parametrize("name", PLANES)
def test_planes_beside_the_slices_fill_neither_two_nor_none(name: str, grid: Grid) -> None:
    depths, slices = PLANES[name]
    mask, notes = mask_of(depths, grid)
    assert np.flatnonzero(mask.any((1, 2))).tolist() == slices
    between = [note for note in notes if note.kind == "contours between slices"]
    assert bool(between) == any(abs(d - round(d)) > 0.05 for d in depths)
    assert all(note.severity == "warning" for note in between)


def test_planes_keep_their_distance_whatever_their_shift() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(-0.5, 0.5, 21):
        depth = np.arange(3, 30) + shift + rng.uniform(-0.02, 0.02, 27)
        found = slices_of(depth)
        assert set(np.diff(found).tolist()) == {1}
        assert np.abs(found - depth).max() <= 0.53


def test_frames_of_a_segmentation_half_a_slice_off_fill_every_slice() -> None:
    from .test_segmentation import GRID, labels, read, scan, segmentation

    data = segmentation(scan(), labels(), "BINARY")
    expected, _ = read(data)
    shifted = GRID.affine.copy()
    shifted[:3, 3] -= 0.5 * shifted[:3, 0]
    found, notes = read(data, Grid((GRID.shape[0] + 1, 9, 11), shifted))
    filled, there = found.any((1, 2)), expected.any((1, 2))
    assert filled.sum() == there.sum()
    assert filled[1:].tolist() == there.tolist()
    assert "beside their slices" in notes[0]


def test_the_nearest_voxel_of_a_half_is_the_upper_one() -> None:
    source = Grid.from_spacing((4, 4, 4), (2, 2, 2))
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    target = Grid.from_spacing((3, 3, 3), (2, 2, 2), (1, 1, 1))
    expected = array[1:, 1:, 1:]
    np.testing.assert_array_equal(resample(array, source, target, order=0), expected)
    # The same grids, slightly turned, go point by point.
    angle = np.radians(40)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved = Grid(target.shape, turn @ target.affine)
    oblique = resample(array, Grid(source.shape, turn @ source.affine), moved, order=0)
    np.testing.assert_array_equal(oblique, expected)


def test_sides_of_a_new_spacing_round_halves_up() -> None:
    for side in (1, 3, 5, 7, 9, 11):
        grid = Grid.from_spacing((side, side, side), (1, 1, 1)).with_spacing((2, 2, 2))
        assert grid.shape == (half_up(side / 2),) * 3


def test_regions_that_share_an_edge_share_no_voxel_and_leave_none_out() -> None:
    # A square through centres, cut into triangles, halves and quarters through centres.
    corners = np.array([[2, 3], [2, 11], [10, 11], [10, 3]], float)
    middle = np.array([6.0, 7.0])
    whole = fill_polygons([corners], (14, 15)).inside
    assert whole.sum() == 64
    parts = [np.array([corners[i], corners[(i + 1) % 4], middle]) for i in range(4)]
    total = sum(fill_polygons([part], (14, 15)).inside.astype(int) for part in parts)
    np.testing.assert_array_equal(total, whole)
    left, right = corners.copy(), corners.copy()
    left[1:3, 1] = right[[0, 3], 1] = 6
    halves = [fill_polygons([part], (14, 15)).inside for part in (left, right)]
    assert not (halves[0] & halves[1]).any()
    np.testing.assert_array_equal(halves[0] | halves[1], whole)


@pytest.mark.parametrize("edge", ["half-open", "inside"])
def test_the_rule_of_edges_is_the_users(edge) -> None:
    square = np.array([[2.0, 3.0], [2.0, 7.0], [5.0, 7.0], [5.0, 3.0]])
    found = fill_polygons([square], (9, 11), edge=edge)
    assert found.inside.sum() == (3 * 4 if edge == "half-open" else 4 * 5)
    assert found.traced
    # A diagonal through centres: 15 of 5 x 5 points lie in the triangle or on its edges; the rule
    # gives 6 to this one and 10 to the other half of the square of 16.
    triangle = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0]])
    found = fill_polygons([triangle], (9, 11), edge=edge)
    assert found.inside.sum() == (6 if edge == "half-open" else 15)
    assert not fill_polygons([triangle + 0.3], (9, 11), edge=edge).traced


def test_no_conversion_rounds_by_another_rule() -> None:
    """Index conversions of the library go through `nearest_index`."""
    root = Path(__file__).parents[3]
    names = ("np.rint", ".round().astype(int)", "np.round(index", "np.round(exact", "round(depth")
    for folder in ("datasets", "hilum/core", "hilum/segmenter/prediction", "hilum/exchange"):
        for file in (root / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not [name for name in names if name in text], file
