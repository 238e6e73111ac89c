"""Errors of uptake are differences of a patient's sums and hottest values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.metrics.uptake import uptake_metrics

GRID = Grid.from_spacing((6, 8, 30), (4.0, 4.0, 4.0))


def test_errors_by_hand() -> None:
    pet = np.random.default_rng(0).uniform(1, 9, GRID.shape)
    ours, truth = np.zeros((2, *GRID.shape), bool)
    ours[2:4, 2:5, 3:6] = truth[2:4, 2:5, 2:6] = truth[4, 6, 20:23] = True
    found = uptake_metrics(
        node_table(ours, GRID, {"pet": pet}), node_table(truth, GRID, {"pet": pet})
    )
    assert found["tlg"] == pytest.approx(pet[ours].sum() * 0.064)
    assert found["tlg_error"] == pytest.approx((pet[ours].sum() - pet[truth].sum()) * 0.064)
    assert found["suv_max_error"] == pytest.approx(pet[ours].max() - pet[truth].max())
    # A sphere of 1 ml reaches 6.2 mm: with 4 mm voxels the centre, 6 faces and 12 edges.
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    ball = steps[(steps**2).sum(1) <= 2]

    def peak(mask: np.ndarray) -> float:
        return max(pet[tuple((place + ball).T)].mean() for place in np.argwhere(mask))

    assert found["suv_peak_error"] == pytest.approx(peak(ours) - peak(truth))


def test_an_empty_mask_has_no_uptake_and_no_hottest_node() -> None:
    pet = np.ones(GRID.shape)
    rows = node_table(pet > 0, GRID, {"pet": pet})
    found = uptake_metrics([], rows)
    assert found["tlg"] == 0
    assert found["tlg_error"] == -found["reference_tlg"]
    assert math.isnan(found["suv_max_error"])
    assert uptake_metrics([], [])["tlg_error"] == 0


def test_a_node_beyond_the_pet_makes_the_sum_unknown() -> None:
    pet = (np.ones((2, 2, 2)), GRID.crop((0, 0, 0), (2, 2, 2)))
    mask = np.zeros(GRID.shape, np.uint8)
    mask[0, 0, 0], mask[4, 4, 20] = 1, 1
    found = uptake_metrics(node_table(mask, GRID, {"pet": pet}), [])
    assert math.isnan(found["tlg"])
    assert found["suv_max"] == 1
