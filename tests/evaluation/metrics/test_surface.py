"""Surface distances agree with MONAI, and a missed node always costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.surface import surface_metrics

GRID = Grid.from_spacing((14, 18, 22), (3.0, 1.0, 1.5))


def blob(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    index = np.indices(GRID.shape).reshape(3, -1).T - centre
    inside = np.linalg.norm(index * GRID.spacing, axis=1) <= radius
    return inside.reshape(GRID.shape)


P, G = blob((6, 8, 10), 5.0), blob((7, 9, 11), 6.0)


def monai(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32))


def test_distances_equal_monais() -> None:
    ours = surface_metrics(P, G, GRID, tolerance_mm=2.0)
    spacing = list(GRID.spacing)
    hd = compute_hausdorff_distance(monai(P), monai(G), percentile=95, spacing=spacing)
    assert ours["hd95_mm"] == pytest.approx(hd.item(), abs=1e-4)
    there = compute_average_surface_distance(monai(P), monai(G), spacing=spacing).item()
    back = compute_average_surface_distance(monai(G), monai(P), spacing=spacing).item()
    assert ours["masd_mm"] == pytest.approx((there + back) / 2, abs=1e-4)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("tolerance", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_surface_dice_equals_its_authors(seed: int, tolerance: float) -> None:
    """Rough masks at 4 mm, where counting voxels is far off."""
    surface_distance = pytest.importorskip("surface_distance")
    draw = np.random.default_rng(seed)
    masks = [ndimage.gaussian_filter(draw.random((9, 10, 12)), 1.2) > 0.5 for _ in range(2)]
    spacing = (4.0, 3.0, 2.5)
    found = surface_distance.compute_surface_distances(*masks, spacing_mm=spacing)
    theirs = surface_distance.compute_surface_dice_at_tolerance(found, tolerance)
    ours = surface_metrics(*masks, Grid.from_spacing((9, 10, 12), spacing), tolerance)
    assert ours[f"nsd_{tolerance:g}mm"] == pytest.approx(theirs, abs=1e-6)


def test_the_pooled_mean_weighs_the_larger_surface_more() -> None:
    small, large = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    small[4, 4, 4], large[4, 4, 4:13] = True, True
    got = surface_metrics(small, large, GRID)
    back = np.arange(9) * GRID.spacing[2]
    assert got["masd_mm"] == pytest.approx((0 + back.mean()) / 2)
    assert got["assd_mm"] == pytest.approx(back.sum() / 10)


def test_two_voxels_by_hand() -> None:
    one, two = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    one[4, 4, 4] = two[5, 4, 8] = True
    far = math.hypot(3.0, 4 * 1.5)
    got = surface_metrics(one, two, GRID)
    distances = dict.fromkeys(("hd95_mm", "masd_mm", "assd_mm"), far)
    assert got == pytest.approx(distances | {"nsd_2mm": 0.0})


def test_symmetric_and_independent_of_place() -> None:
    there, back = surface_metrics(P, G, GRID), surface_metrics(G, P, GRID)
    assert there == pytest.approx(back)
    moved = surface_metrics(np.roll(P, 1, 0), np.roll(G, 1, 0), GRID)
    assert moved == pytest.approx(there)


def test_identical_masks_are_perfect() -> None:
    distances = dict.fromkeys(("hd95_mm", "masd_mm", "assd_mm"), 0.0)
    assert surface_metrics(G, G, GRID) == distances | {"nsd_2mm": 1.0}


def test_a_second_node_that_is_missed_worsens_every_distance() -> None:
    with_second = G | blob((11, 3, 4), 4.0)
    before, after = surface_metrics(P, G, GRID), surface_metrics(P, with_second, GRID)
    assert after["hd95_mm"] > before["hd95_mm"]
    assert after["assd_mm"] > before["assd_mm"]
    assert after["nsd_2mm"] < before["nsd_2mm"]
