"""Surface distances agree with MONAI, and a missed node always costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice

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
    assert ours["assd_mm"] == pytest.approx((there + back) / 2, abs=1e-4)
    nsd = compute_surface_dice(monai(P), monai(G), [2.0], spacing=spacing)
    assert ours["nsd_2mm"] == pytest.approx(nsd.item(), abs=1e-6)


def test_two_voxels_by_hand() -> None:
    one, two = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    one[4, 4, 4] = two[5, 4, 8] = True
    far = math.hypot(3.0, 4 * 1.5)
    got = surface_metrics(one, two, GRID)
    assert got == pytest.approx({"hd95_mm": far, "assd_mm": far, "nsd_2mm": 0.0})


def test_symmetric_and_independent_of_place() -> None:
    there, back = surface_metrics(P, G, GRID), surface_metrics(G, P, GRID)
    assert there == pytest.approx(back)
    moved = surface_metrics(np.roll(P, 1, 0), np.roll(G, 1, 0), GRID)
    assert moved == pytest.approx(there)


def test_identical_masks_are_perfect() -> None:
    assert surface_metrics(G, G, GRID) == {"hd95_mm": 0.0, "assd_mm": 0.0, "nsd_2mm": 1.0}


def test_a_missed_node_costs_the_diagonal() -> None:
    nothing = np.zeros(GRID.shape, bool)
    diagonal = math.dist((0, 0, 0), GRID.extent_mm)
    for masks in ((nothing, G), (G, nothing)):
        assert surface_metrics(*masks, GRID) == {
            "hd95_mm": diagonal,
            "assd_mm": diagonal,
            "nsd_2mm": 0.0,
        }
    both = surface_metrics(nothing, nothing, GRID)
    assert math.isnan(both["hd95_mm"])
    assert both["nsd_2mm"] == 1.0


def test_a_second_node_that_is_missed_worsens_every_distance() -> None:
    with_second = G | blob((11, 3, 4), 4.0)
    before, after = surface_metrics(P, G, GRID), surface_metrics(P, with_second, GRID)
    assert after["hd95_mm"] > before["hd95_mm"]
    assert after["assd_mm"] > before["assd_mm"]
    assert after["nsd_2mm"] < before["nsd_2mm"]
