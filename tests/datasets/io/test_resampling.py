"""Resampling follows the patient's coordinates, whatever the axes of the two grids."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from hilum.core.geometry import Grid, IntTriple, Triple
from hilum.datasets.io.resampling import field_of_view, resample

SHAPE: IntTriple = (7, 9, 11)
SPACING: Triple = (3.0, 1.0, 2.0)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def grid() -> Grid:
    return Grid.from_spacing(SHAPE, SPACING, (5, -6, 7))


def turned(grid: Grid, degrees: float) -> Grid:
    """Return the grid turned about the first world axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]]
    return Grid(grid.shape, turn @ grid.affine)


def by_points(values: np.ndarray, grid: Grid, target: Grid, order: int) -> np.ndarray:
    """Look every voxel of the target up through the world, slowly."""
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), -1)
    place = np.moveaxis(grid.to_index(target.to_world(index)), -1, 0)
    return ndimage.map_coordinates(values, place, order=order, mode="nearest")


@pytest.mark.parametrize("order", [0, 1])
def test_the_same_grid_changes_nothing(values: np.ndarray, grid: Grid, order: int) -> None:
    assert_allclose(resample(values, grid, grid, order=order), values, atol=1e-6)  # type: ignore


@pytest.mark.parametrize("order", [0, 1])
def test_swapped_and_flipped_axes_only_move_voxels(
    values: np.ndarray, grid: Grid, order: int
) -> None:
    affine = grid.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (SHAPE[2] - 1)
    affine[:3, 0] *= -1
    other = Grid((SHAPE[2], SHAPE[0], SHAPE[1]), affine)
    expected = np.flip(values.transpose(2, 0, 1), 0)
    assert_allclose(resample(values, grid, other, order=order), expected, atol=1e-6)  # type: ignore


def test_finer_grids_agree_with_scipy(values: np.ndarray, grid: Grid) -> None:
    target = grid.with_spacing((1.1, 0.7, 1.3))
    inside = field_of_view(grid, target)
    expected = by_points(values, grid, target, 1)
    assert_allclose(resample(values, grid, target)[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
def test_oblique_grids_agree_with_scipy(values: np.ndarray, grid: Grid, order: int) -> None:
    target = turned(grid, 17)
    inside = field_of_view(grid, target)
    assert 0.3 < inside.mean() < 1
    got = resample(values, grid, target, order=order, antialias=False)  # type: ignore
    expected = by_points(values, grid, target, order)
    assert_allclose(got[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 20])
def test_a_constant_stays_constant_inside_and_is_filled_outside(grid: Grid, degrees: int) -> None:
    target = turned(grid.crop((-2, 1, 0), (9, 9, 14)).with_spacing((4, 2, 3)), degrees)
    inside = field_of_view(grid, target)
    got = resample(np.full(SHAPE, 5.0), grid, target, fill=-1024)
    assert inside.any()
    assert not inside.all()
    assert_allclose(got[inside], 5, atol=1e-5)
    assert_array_equal(got[~inside], -1024)


@pytest.mark.parametrize("degrees", [0, 10])
def test_down_sampling_averages_noise_away(degrees: int) -> None:
    fine = Grid.from_spacing((24, 28, 32), (1, 1, 1))
    noise = np.random.default_rng(1).normal(size=fine.shape)
    coarse = turned(fine.with_spacing((4, 4, 4)), degrees)
    inside = field_of_view(fine, coarse)
    kept = resample(noise, fine, coarse)[inside].std()
    assert kept < 0.25  # a mean of 64 voxels keeps 0.125, a single voxel 1
    assert resample(noise, fine, coarse, antialias=False)[inside].std() > 1.5 * kept


def test_down_sampling_a_ramp_equals_the_mean_of_each_voxel() -> None:
    fine = Grid.from_spacing((8, 12, 16), (1, 1, 1))
    ramp = np.arange(8.0)[:, None, None] * 3 + np.arange(16.0)
    ramp = np.broadcast_to(ramp, fine.shape)
    coarse = fine.with_spacing((2, 2, 2))
    means = ramp.reshape(4, 2, 6, 2, 8, 2).mean((1, 3, 5))
    middle = (slice(1, -1),) * 3
    assert_allclose(resample(ramp, fine, coarse)[middle], means[middle], atol=1e-4)


def test_labels_keep_their_type_and_gain_no_values(grid: Grid) -> None:
    label = np.random.default_rng(2).choice(np.array([0, 1, 7, 255], np.uint8), SHAPE)
    for target in (grid.with_spacing((2, 2, 2)), turned(grid, 9)):
        got = resample(label, grid, target, order=0)
        assert got.dtype == np.uint8
        assert set(np.unique(got)) <= {0, 1, 7, 255}


def test_the_field_of_view_is_the_box_of_the_voxels(grid: Grid) -> None:
    wider = grid.crop((-1, 0, -2), (9, 9, 14))
    expected = np.zeros(wider.shape, bool)
    expected[1:8, :, 2:13] = True
    assert_array_equal(field_of_view(grid, wider), expected)


@pytest.mark.parametrize("spacing", [(1.7, 1.3, 0.8), (3.0, 2.0, 1.5)])
def test_cubic_splines_equal_scipys_at_every_point(spacing: Triple) -> None:
    array = np.random.default_rng(3).normal(0, 100, (9, 10, 11)).astype(np.float32)
    grid = Grid.from_spacing((9, 10, 11), (3, 2, 1.5))
    target = grid.with_spacing(spacing)
    found = resample(array, grid, target, order=3, antialias=False)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), -1)
    places = grid.to_index(target.to_world(index))
    expected = ndimage.map_coordinates(
        array.astype(float), places.reshape(-1, 3).T, order=3, mode="nearest"
    ).reshape(target.shape)
    assert_allclose(found, expected, atol=1e-6 * np.ptp(array))
    if spacing == (3.0, 2.0, 1.5):
        assert_allclose(found, array, atol=1e-3)


def test_cubic_splines_do_not_alias_when_down_sampling() -> None:
    """A pattern that changes from voxel to voxel vanishes instead of showing as another one."""
    array = np.where(np.arange(40) % 2, 1.0, -1.0).astype(np.float32)
    array = np.broadcast_to(array, (8, 8, 40)).copy()
    grid = Grid.from_spacing((8, 8, 40), (1, 1, 1))
    target = grid.with_spacing((1, 1, 2.7))
    found = resample(array, grid, target, order=3)
    assert np.abs(found[..., 2:-2]).max() < 0.05
    flat = resample(np.full_like(array, 7), grid, target, order=3)
    assert_allclose(flat, 7, atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 17])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_slabs_give_what_one_piece_gives(
    monkeypatch: pytest.MonkeyPatch, degrees: float, order: int
) -> None:
    draw = np.random.default_rng(1)
    source = turned(Grid.from_spacing((90, 40, 30), (1.5, 2, 2.5), (-30, -40, -60)), degrees)
    array = draw.integers(0, 9, source.shape).astype(np.uint8 if order == 0 else np.float32)
    # Beyond the source on both sides, coarser along one axis and finer along another.
    target = Grid.from_spacing((60, 30, 50), (3.1, 2.4, 1.3), (-45, -50, -70))
    whole = resample(array, source, target, order=order, fill=7)
    monkeypatch.setattr("hilum.datasets.io.resampling.SLAB", 30 * 50 * 7)
    slabs = resample(array, source, target, order=order, fill=7)
    assert slabs.dtype == whole.dtype
    assert_allclose(slabs, whole, atol=2e-5)
    half = np.empty(target.shape, np.float16)
    assert resample(array, source, target, order=order, fill=7, out=half) is half
    assert_array_equal(half, slabs.astype(np.float16))
