"""Two one-sided tests against scipy's t tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.equivalence import equivalence


@pytest.mark.parametrize("margin", [0.02, 0.1, 0.5])
def test_it_is_the_larger_of_two_one_sided_t_tests(margin: float) -> None:
    table = np.random.default_rng(0).normal(0.03, 0.1, (12, 1))
    got = equivalence(table, margin)
    low = float(stats.ttest_1samp(table[:, 0], -margin, alternative="greater")[1])  # pyright: ignore[reportArgumentType]
    high = float(stats.ttest_1samp(table[:, 0], margin, alternative="less")[1])  # pyright: ignore[reportArgumentType]
    assert got.p_value == pytest.approx(max(low, high))
    assert got.equivalent == (-margin < got.low and got.high < margin)


def test_no_difference_found_is_not_equality() -> None:
    noisy = np.random.default_rng(1).normal(0, 1, (6, 2))
    assert not equivalence(noisy, 0.05).equivalent


def test_equal_arms_are_equivalent_and_a_margin_is_above_zero() -> None:
    assert equivalence(np.zeros((5, 2)), 0.01).equivalent
    with pytest.raises(ValueError, match="above 0"):
        equivalence(np.zeros((5, 2)), 0)
