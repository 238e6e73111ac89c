"""A grid maps indices to the patient and back, whatever its orientation."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hilum.core.geometry import Grid

SHAPE = (4, 5, 6)


@pytest.fixture
def oblique() -> Grid:
    """Return a grid with swapped, flipped and slightly tilted axes."""
    turn = np.array([[0.0, 0.1, -1.0], [1.0, 0.05, 0.0], [0.05, -1.0, -0.1]])
    turn, _ = np.linalg.qr(turn)
    affine = np.eye(4)
    affine[:3, :3] = turn * [3.0, 1.0, 2.0]
    affine[:3, 3] = [10, -20, 30]
    return Grid(SHAPE, affine)


def test_world_and_index_are_inverse(oblique: Grid) -> None:
    index = np.random.default_rng(0).uniform(0, 4, (7, 3))
    assert_allclose(oblique.to_index(oblique.to_world(index)), index, atol=1e-9)


def test_spacing_and_volume_by_hand() -> None:
    grid = Grid.from_spacing(SHAPE, (3, 1, 2), origin=(5, 6, 7))
    assert grid.spacing == (3, 1, 2)
    assert grid.voxel_ml == pytest.approx(0.006)
    assert_allclose(grid.to_world((1, 0, 0)), (5, 6, 10))  # depth runs to superior
    assert_allclose(grid.to_world((0, 1, 0)), (5, 7, 7))  # height to anterior
    assert_allclose(grid.to_world((0, 0, 1)), (7, 6, 7))  # width to the right


def test_canonical_keeps_every_voxel_in_place(oblique: Grid) -> None:
    grid, axes, flips = oblique.canonical()
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    turned = values.transpose(axes)
    for axis, flip in enumerate(flips):
        turned = np.flip(turned, axis) if flip else turned
    assert grid.shape == turned.shape
    for index in np.ndindex(*SHAPE):
        place = tuple(np.round(grid.to_index(oblique.to_world(index))).astype(int))
        assert turned[place] == values[index]


def test_canonical_agrees_with_nibabel(oblique: Grid) -> None:
    grid, _, _ = oblique.canonical()
    swapped = grid.affine[:, [2, 1, 0, 3]]  # NIfTI's order is width, height, depth
    assert nibabel.aff2axcodes(swapped) == ("R", "A", "S")


def test_a_crop_may_begin_outside(oblique: Grid) -> None:
    crop = oblique.crop((-1, 2, 0), (3, 3, 3))
    assert_allclose(crop.to_world((1, -2, 0)), oblique.to_world((0, 0, 0)), atol=1e-9)


def test_other_spacing_covers_the_same_box(oblique: Grid) -> None:
    fine = oblique.with_spacing((1.5, 0.5, 1.0))
    assert fine.shape == (8, 10, 12)
    assert_allclose(fine.to_world((3.5, 4.5, 5.5)), oblique.to_world((1.5, 2.0, 2.5)), atol=1e-9)


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (6, 0.5), (12, 0.0)])
def test_overlap_of_shifted_boxes(shift: float, share: float) -> None:
    grid = Grid.from_spacing((12, 12, 12), (1, 1, 1))
    other = Grid.from_spacing((12, 12, 12), (1, 1, 1), origin=(shift, 0, 0))
    assert grid.overlap(other) == pytest.approx(share, abs=0.06)


def test_json_round_trip(oblique: Grid) -> None:
    assert Grid.from_json(oblique.as_json()).same_as(oblique)
    assert not oblique.same_as(oblique.crop((0, 0, 1), SHAPE))
