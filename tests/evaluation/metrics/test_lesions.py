"""Lesion-wise scores equal a slow formula, and a missed node worsens every one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.lesions import lesion_metrics
from hilum.evaluation.statistics.cohort import cohort_metrics

GRID = Grid.from_spacing((10, 14, 18), (2.0, 1.5, 1.0))
DIAGONAL = math.dist((0, 0, 0), (20, 21, 18))


def boxes(*corners: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    for corner in corners:
        mask[corner] = True
    return mask


def grown(mask: np.ndarray, times: int) -> np.ndarray:
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3, 3)), iterations=times), bool)


A, B = np.s_[1:3, 1:5, 1:5], np.s_[6:8, 8:12, 9:13]
SHIFTED, ELSEWHERE = np.s_[1:3, 1:5, 3:7], np.s_[0:1, 11:13, 1:3]


def test_a_found_a_missed_and_a_made_up_lesion_by_hand() -> None:
    got = lesion_metrics(boxes(SHIFTED, ELSEWHERE), boxes(A, B), GRID)
    assert got["lesion_dice"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert got["lesion_hd95_mm"] == pytest.approx((2.0 + 2 * DIAGONAL) / 3)


def test_dice_equals_a_slow_formula() -> None:
    generator = np.random.default_rng(0)
    p, g = (grown(generator.random(GRID.shape) < 0.006, 1) for _ in range(2))
    (predicted, n), (truth, m) = components(p), components(g)
    scores, used = [], set()
    for lesion in (truth == i for i in range(1, m + 1)):
        mates = [j for j in range(1, n + 1) if (lesion & (predicted == j)).any()]
        used.update(mates)
        union = np.isin(predicted, mates) & (predicted > 0)
        scores.append(2 * (union & lesion).sum() / (union.sum() + lesion.sum()))
    scores += [0.0] * (n - len(used))
    assert lesion_metrics(p, g, GRID)["lesion_dice"] == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("seed", range(12))
def test_a_node_that_is_wholly_missed_worsens_every_lesion_wise_score(seed: int) -> None:
    """Wherever it lies and however small it is, as the plain HD95 does not promise."""
    generator = np.random.default_rng(seed)
    p, g = boxes(SHIFTED), boxes(A)
    far = ~grown(p | g, 2)
    places = np.argwhere(far)
    extra = g.copy()
    extra[tuple(places[generator.integers(len(places))])] = True
    before, after = lesion_metrics(p, g, GRID), lesion_metrics(p, extra, GRID)
    assert after["lesion_dice"] < before["lesion_dice"]
    assert after["lesion_nsd_2mm"] < before["lesion_nsd_2mm"]
    assert after["lesion_hd95_mm"] > before["lesion_hd95_mm"]
    assert after["lesion_masd_mm"] > before["lesion_masd_mm"]


def test_empty_masks() -> None:
    got = lesion_metrics(boxes(), boxes(), GRID)
    assert all(math.isnan(value) for value in got.values())
    assert lesion_metrics(boxes(), boxes(A), GRID)["lesion_masd_mm"] == pytest.approx(DIAGONAL)


def test_a_cut_box_keeps_the_penalty_of_the_whole_image() -> None:
    got = case_metrics(boxes(ELSEWHERE).astype(np.uint8), boxes(B).astype(np.uint8), GRID)
    assert got["lesion_hd95_mm"] == pytest.approx(DIAGONAL)


def test_the_stricter_f1_counts_overlaps_above_one_half() -> None:
    half = boxes(np.s_[1:3, 1:5, 1:3])  # IoU with A is exactly 0.5
    got = case_metrics(half.astype(np.uint8), boxes(A).astype(np.uint8), GRID)
    assert (got["lesion_tp"], got["lesion_tp_50"], got["lesion_precision"]) == (1, 0, 1)
    cohort = cohort_metrics({"a": got, "b": case_metrics(boxes(A) * 1, boxes(A) * 1, GRID)})
    assert (cohort["f1agg"]["value"], cohort["f1agg_50"]["value"]) == (1, 0.5)
