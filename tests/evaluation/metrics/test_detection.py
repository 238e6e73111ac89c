"""Lesions are matched one to one; volumes follow autoPET's definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.detection import detection_metrics, volume_metrics

GRID = Grid.from_spacing((8, 12, 16), (2.0, 1.0, 1.0))


def boxes(*corners: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    for corner in corners:
        mask[corner] = True
    return mask


A = np.s_[1:3, 1:5, 1:5]
B = np.s_[5:7, 7:11, 9:13]
ELSEWHERE = np.s_[0:1, 9:11, 1:3]


def test_counts_by_hand() -> None:
    """One lesion found exactly, one missed, one made up."""
    got = detection_metrics(boxes(A, ELSEWHERE), boxes(A, B), GRID)
    assert (got["lesion_tp"], got["lesion_fp"], got["lesion_fn"]) == (1, 1, 1)
    assert got["lesion_sensitivity"] == 0.5


@pytest.mark.parametrize(("length", "found"), [(2, 1), (1, 0)])
def test_the_threshold_is_an_iou_above_0_3(length: int, found: int) -> None:
    """A part of 2/4 has an IoU of 0.5, a part of 1/4 one of 0.25."""
    part = np.s_[1:3, 1:5, 1 : 1 + length]
    assert detection_metrics(boxes(part), boxes(A), GRID)["lesion_tp"] == found


def test_a_prediction_serves_one_lesion_only() -> None:
    """Two lesions with a gap of one voxel, covered by one prediction."""
    two = boxes(np.s_[1:3, 1:5, 1:5], np.s_[1:3, 1:5, 6:10])
    one = boxes(np.s_[1:3, 1:5, 1:10])
    got = detection_metrics(one, two, GRID)
    assert (got["lesion_tp"], got["lesion_fp"], got["lesion_fn"]) == (1, 0, 1)


def test_sensitivity_by_short_axis() -> None:
    """A square of 4 mm is 4 sqrt(2) mm from corner to corner both ways; one of 2 mm half that."""
    got = detection_metrics(boxes(A), boxes(A, ELSEWHERE), GRID)
    assert (got["lesions_5_10"], got["sensitivity_5_10"]) == (1, 1)
    assert (got["lesions_lt5"], got["sensitivity_lt5"]) == (1, 0)
    assert math.isnan(got["sensitivity_ge15"])


def test_no_lesion_at_all() -> None:
    nothing = boxes()
    got = detection_metrics(nothing, nothing, GRID)
    assert math.isnan(got["lesion_sensitivity"])
    assert detection_metrics(boxes(A), nothing, GRID)["lesion_fp"] == 1


def test_volumes_equal_a_slow_formula() -> None:
    generator = np.random.default_rng(0)
    p, g = generator.random(GRID.shape) < 0.06, generator.random(GRID.shape) < 0.06
    got = volume_metrics(p, g, GRID)
    assert got["fpv_ml"] == pytest.approx(slow(p, g) * GRID.voxel_ml)
    assert got["fnv_ml"] == pytest.approx(slow(g, p) * GRID.voxel_ml)


def test_touching_at_a_corner_is_another_component_for_autopet() -> None:
    corner = np.zeros(GRID.shape, bool)
    corner[2, 2, 2] = corner[3, 3, 3] = True
    truth = np.zeros(GRID.shape, bool)
    truth[2, 2, 2] = True
    assert volume_metrics(corner, truth, GRID)["fpv_ml"] == pytest.approx(GRID.voxel_ml)


def test_no_reference_leaves_fnv_undefined() -> None:
    got = volume_metrics(boxes(A), boxes(), GRID)
    assert math.isnan(got["fnv_ml"])
    assert got["fpv_ml"] == pytest.approx(2 * 4 * 4 * GRID.voxel_ml)


def slow(mask: np.ndarray, other: np.ndarray) -> int:
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 2))
    total = 0
    for number in range(1, count + 1):
        part = labels == number
        if not (part & other).any():
            total += int(part.sum())
    return total


def test_panoptic_quality_by_hand() -> None:
    truth = boxes(A, B)
    got = detection_metrics(boxes(A, ELSEWHERE), truth, GRID)
    # One of two lesions found whole, one made up: TP 1, FP 1, FN 1.
    assert got["segmentation_quality"] == 1
    assert got["recognition_quality"] == pytest.approx(1 / 2)
    assert got["panoptic_quality"] == pytest.approx(1 / 2)
