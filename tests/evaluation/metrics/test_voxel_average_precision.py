"""Average precision over voxels is scikit-learn's formula written slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hilum.evaluation.metrics.voxel_average_precision import voxel_average_precision


def slowly(scores: np.ndarray, truth: np.ndarray) -> float:
    area = before = 0.0
    for limit in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= limit
        recall, precision = truth[chosen].sum() / truth.sum(), truth[chosen].mean()
        area, before = area + (recall - before) * precision, recall
    return area


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_sum_over_thresholds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = (generator.random((4, 5, 6)) < 0.2).astype(np.uint8)
    # Ties, too.
    scores = np.round(np.clip(truth * 0.3 + generator.random(truth.shape) * 0.7, 0, 1), 1)
    label = truth.copy()
    label[0] = 255
    found = voxel_average_precision(scores.astype(np.float32), label)
    assert_allclose(found, slowly(scores[1:].ravel().astype(np.float32), truth[1:].ravel() > 0))


def test_nothing_to_find_is_undefined() -> None:
    assert math.isnan(voxel_average_precision(np.zeros((2, 2, 2)), np.zeros((2, 2, 2), np.uint8)))
