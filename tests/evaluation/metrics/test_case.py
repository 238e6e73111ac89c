"""The metrics of a case agree with MONAI, with hand-computed cases, and with their empty rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.table import METRICS

GRID = Grid.from_spacing((6, 8, 10), (3.0, 2.0, 1.0))


def random_mask(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(GRID.shape) < 0.3).astype(np.uint8)


def test_dice_equals_monais() -> None:
    p, g = random_mask(0), random_mask(1)
    theirs = compute_dice(torch.from_numpy(p)[None, None], torch.from_numpy(g)[None, None])
    assert case_metrics(p, g, GRID)["dice"] == pytest.approx(theirs.item())


def test_two_boxes_by_hand() -> None:
    p, g = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    p[1:3, 1:3, 1:5], g[1:3, 1:3, 3:7] = 1, 1
    got = case_metrics(p, g, GRID)
    assert got["dice"] == pytest.approx(2 * 8 / 32)
    assert got["iou"] == pytest.approx(8 / 24)
    assert got["volume_ml"] == pytest.approx(16 * 6 / 1000)
    assert got["intersection_ml"] == pytest.approx(8 * 6 / 1000)
    assert got["volume_error_ml"] == pytest.approx(0)
    assert (got["lesion_tp"], got["fpv_ml"], got["fnv_ml"]) == (1, 0, 0)


def test_unknown_voxels_count_in_neither_mask() -> None:
    p, g = random_mask(0), random_mask(1)
    hidden = np.random.default_rng(2).random(GRID.shape) < 0.3
    unknown = np.where(hidden, 255, g).astype(np.uint8)
    expected = case_metrics(np.where(hidden, 0, p), np.where(hidden, 0, g), GRID)
    assert case_metrics(p, unknown, GRID) == pytest.approx(expected, nan_ok=True)


def test_empty_masks_follow_the_stated_rules() -> None:
    nothing, something = np.zeros(GRID.shape, np.uint8), random_mask(0)
    both = case_metrics(nothing, nothing, GRID)
    assert (both["dice"], both["iou"], both["nsd_2mm"], both["fpv_ml"]) == (1, 1, 1, 0)
    assert math.isnan(both["hd95_mm"])
    assert math.isnan(both["fnv_ml"])
    missed = case_metrics(nothing, something, GRID)
    assert (missed["dice"], missed["nsd_2mm"], missed["lesion_sensitivity"]) == (0, 0, 0)
    assert missed["hd95_mm"] == pytest.approx(math.dist((0, 0, 0), GRID.extent_mm))
    assert missed["fnv_ml"] == pytest.approx(something.sum() * GRID.voxel_ml)


def test_the_error_of_tlg() -> None:
    p, g = random_mask(0), random_mask(1)
    pet = np.random.default_rng(3).random(GRID.shape)
    got = case_metrics(p, g, GRID, {"pet": pet})["tlg_error"]
    assert got == pytest.approx((pet[p > 0].sum() - pet[g > 0].sum()) * GRID.voxel_ml)


def test_only_the_asked_class_counts() -> None:
    p, g = random_mask(0), random_mask(1)
    assert case_metrics(p * 2, g * 2, GRID, label=2) == case_metrics(p, g, GRID)
    assert case_metrics(p * 2, g, GRID)["volume_ml"] == 0


def test_every_metric_of_a_case_is_defined() -> None:
    got = case_metrics(random_mask(0), random_mask(1), GRID)
    for name, metric in METRICS.items():
        elsewhere = metric.pooled or metric.pet or metric.probability or name.startswith("rater_")
        assert elsewhere or name in got


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="must have one shape"):
        case_metrics(random_mask(0), random_mask(1)[1:], GRID)
