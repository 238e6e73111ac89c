"""Uptake is measured on the PET's own grid, against published values and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.io.resampling import resample
from hilum.evaluation.metrics.nodes import node_table

# Digital phantom of the Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology
# 2020), published under CC BY 4.0: 5 x 4 x 4 voxels of 2 mm, slices from below.
PHANTOM = """
1 4 4 1 1  1 4 6 1 1  4 1 6 4 1  4 4 6 4 1
1 4 4 1 1  1 1 6 1 1  1 1 3 1 1  4 4 6 1 1
1 4 4 1 1  1 1 1 1 1  1 1 9 1 1  1 1 6 1 1
1 4 4 1 1  1 1 1 1 1  1 1 1 1 1  1 1 6 1 1
"""
OUTSIDE = ((1, 2, 0), (2, 0, 3), (2, 0, 4), (2, 2, 2), (3, 0, 3), (3, 0, 4))
"""Voxels that are not in the mask."""


def test_the_digital_phantom_has_the_published_values() -> None:
    pet = np.array(PHANTOM.split(), float).reshape(4, 4, 5)
    mask = np.ones(pet.shape, bool)
    mask[tuple(np.transpose(OUTSIDE))] = False
    (node,) = node_table(mask, Grid.from_spacing((4, 4, 5), (2.0, 2.0, 2.0)), {"pet": pet})
    # Mean 2.15, maximum 6, intensity peak 3.1 (global) and 2.6 (local), 74 voxels of 592 mm3.
    assert round(node.suv_mean or 0, 2) == 2.15
    assert node.suv_max == 6
    assert round(node.suv_peak or 0, 1) == 3.1
    assert round(node.suv_peak_local or 0, 1) == 2.6
    assert node.volume_ml == pytest.approx(0.592)


def hot_voxel() -> tuple[np.ndarray, Grid, np.ndarray, Grid]:
    """Return a PET of 8 mm with one hot voxel, and a mask of 2 mm around that."""
    own = Grid.from_spacing((6, 8, 8), (8.0, 8.0, 8.0), (3, 5, 7))
    pet = np.ones(own.shape, np.float32)
    pet[3, 4, 4] = 42.2
    fine = own.with_spacing((2.0, 2.0, 2.0))
    mask = resample((pet > 40).astype(np.uint8), own, fine, order=0)
    return pet, own, mask, fine


def test_the_highest_value_is_that_of_the_scan_whatever_the_grid_of_the_mask() -> None:
    pet, own, mask, fine = hot_voxel()
    interpolated = resample(pet, own, fine)
    (low,) = node_table(mask, fine, {"pet": interpolated})
    (node,) = node_table(mask, fine, {"pet": (pet, own)})
    assert (low.suv_max or 0) < 40, "this is what interpolation costs"
    assert node.suv_max == pytest.approx(42.2)
    assert node.suv_mean == pytest.approx(42.2)
    assert node.tlg == pytest.approx(42.2 * 0.512, rel=1e-5)
    (same,) = node_table(pet > 40, own, {"pet": pet})
    assert node.suv_peak == same.suv_peak


def test_a_mask_coarser_than_the_scan_and_turned_holds_every_voxel() -> None:
    coarse = Grid.from_spacing((4, 5, 6), (8.0, 8.0, 8.0))
    mask = np.zeros(coarse.shape, np.uint8)
    mask[1, 2, 3] = 1
    fine = coarse.with_spacing((4.0, 4.0, 4.0))
    turned = Grid((12, 8, 10), fine.affine[:, [2, 0, 1, 3]])
    pet = np.random.default_rng(0).uniform(1, 9, fine.shape)
    (node,) = node_table(mask, coarse, {"pet": (pet.transpose(2, 0, 1), turned)})
    inside = pet[2:4, 4:6, 6:8]
    assert node.suv_max == pytest.approx(inside.max())
    assert node.suv_mean == pytest.approx(inside.mean())
    assert node.mtv_suv4_ml == pytest.approx((inside >= 4).sum() * 0.064)


def test_a_node_between_the_centres_has_the_voxel_it_lies_in() -> None:
    pet, own, mask, fine = hot_voxel()
    small = np.zeros_like(mask)
    small[tuple(np.argwhere(mask)[0])] = 1
    (node,) = node_table(small, fine, {"pet": (pet, own)})
    assert node.suv_max == pytest.approx(42.2)


def test_a_node_outside_of_the_scan_has_no_uptake() -> None:
    pet, own, mask, fine = hot_voxel()
    cut = (pet[:2], own.crop((0, 0, 0), (2, 8, 8)))
    (node,) = node_table(mask, fine, {"pet": cut})
    assert node.suv_max is None
    assert "suv_max" not in node.row


def test_the_local_peak_is_around_the_hottest_voxel_and_the_highest_of_several() -> None:
    """One hot voxel alone, and two of the same value of which one has warm neighbours."""
    grid = Grid.from_spacing((9, 9, 24), (4.0, 4.0, 4.0))
    pet = np.ones(grid.shape)
    pet[3:6, 3:6, 3:6] = 5.0  # the warmest sphere of 1 ml
    pet[4, 4, 12] = pet[4, 4, 19] = 9.0
    pet[4, 4, 20] = 8.0
    (node,) = node_table(np.ones(grid.shape, bool), grid, {"pet": pet})
    spheres = 1 + 6 + 12  # 4 mm voxels within 6.2 mm
    assert node.suv_peak == pytest.approx(5)
    assert node.suv_peak_local == pytest.approx((9 + 8 + spheres - 2) / spheres)
