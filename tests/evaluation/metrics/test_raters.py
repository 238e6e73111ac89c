"""How raters differ is counted voxel by voxel."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from hilum.evaluation.metrics.raters import rater_metrics


def test_equals_a_count_by_hand() -> None:
    draw = np.random.default_rng(0)
    raters = {name: draw.integers(0, 3, (3, 4, 5)) for name in "abc"}
    raters["c"][0] = 255
    prediction, reference = draw.integers(0, 3, (2, 3, 4, 5))
    reference[1, 0] = 255
    found = rater_metrics(prediction, reference, raters, 2, 0.5)

    def dice(one: np.ndarray, other: np.ndarray) -> float:
        both = total = 0
        for x, y in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
            if 255 in (x, y):
                continue
            both += x == y == 2
            total += (x == 2) + (y == 2)
        return 2 * both / total

    pairs = [dice(raters[x], raters[y]) for x, y in combinations("abc", 2)]
    assert found["rater_dice"] == pytest.approx(np.mean(pairs))
    ours = [dice(prediction, mask) for mask in raters.values()]
    assert found["rater_dice_prediction"] == pytest.approx(np.mean(ours))
    apart = wrong = both = 0
    for place in np.ndindex(3, 4, 5):
        said = {int(mask[place]) == 2 for mask in raters.values() if mask[place] != 255}
        error = reference[place] != 255 and (prediction[place] == 2) != (reference[place] == 2)
        apart += len(said) == 2
        wrong += error
        both += error and len(said) == 2
    assert found["rater_disagreement_ml"] == pytest.approx(apart * 0.5)
    assert found["rater_errors"] == pytest.approx(both / wrong)


def test_one_rater_has_nobody_to_differ_from_and_nothing_is_undefined() -> None:
    mask = np.zeros((2, 2, 2), np.uint8)
    assert rater_metrics(mask, mask, {"a": mask}, 1, 1.0) == {}
    found = rater_metrics(mask, mask, {"a": mask, "b": mask}, 1, 1.0)
    assert math.isnan(found["rater_dice"])
    assert math.isnan(found["rater_errors"])
    assert found["rater_disagreement_ml"] == 0
