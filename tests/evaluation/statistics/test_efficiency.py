"""Labels needed: where a curve over the logarithm of labels meets what another arm reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.efficiency import labels_needed


def flat(value: float) -> np.ndarray:
    return np.full((6, 3), value)


def test_it_is_the_crossing_over_the_logarithm() -> None:
    found = labels_needed({1: flat(0.2), 4: flat(0.6)}, flat(0.4))
    assert found.needed == pytest.approx(2.0)
    assert (found.low, found.high) == (pytest.approx(2.0), pytest.approx(2.0))
    assert (found.target, found.reached) == (pytest.approx(0.4), 1.0)


def test_none_is_a_number_of_labels_too() -> None:
    """Over the logarithm of one more: 0 and 3 are at 1 and 4, half way lies 2, so 1 label."""
    found = labels_needed({0: flat(0.2), 3: flat(0.6)}, flat(0.4))
    assert (found.needed, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
    assert labels_needed({0: flat(0.5), 3: flat(0.6)}, flat(0.4)).needed == 0


def test_a_curve_that_falls_is_made_to_rise() -> None:
    curve = {1: flat(0.2), 2: flat(0.5), 4: flat(0.3), 8: flat(0.8)}
    found = labels_needed(curve, flat(0.6))
    share = (0.6 - 0.4) / (0.8 - 0.4)
    assert found.needed == pytest.approx(4 * 2**share)


def test_out_of_reach_is_infinite_and_there_from_the_start_is_the_least() -> None:
    found = labels_needed({1: flat(0.2), 4: flat(0.3)}, flat(0.4))
    assert (found.needed, found.high, found.reached) == (math.inf, math.inf, 0.0)
    assert labels_needed({2: flat(0.5), 4: flat(0.6)}, flat(0.4)).needed == 2


def test_patients_that_disagree_widen_the_interval() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 1)) * np.ones((1, 3))
    found = labels_needed(
        {1: flat(0.2)[:1] + noise, 8: flat(0.8)[:1] + 2 * noise}, flat(0.5)[:1] + 0 * noise
    )
    assert found.low < 0.95 * found.needed < 0.9 * found.high


def test_one_number_of_labels_is_no_curve() -> None:
    with pytest.raises(ValueError, match="two numbers"):
        labels_needed({1: flat(0.2)}, flat(0.4))


def test_the_interval_holds_where_a_paired_t_test_sees_no_difference() -> None:
    """Labels 1 and 4, one run: the ends are where the t interval of the difference ends at zero."""
    generator = np.random.default_rng(5)
    few, many, other = (generator.normal(mean, 0.05, (7, 1)) for mean in (0.3, 0.6, 0.45))
    found = labels_needed({1: few, 4: many}, other)
    places = np.linspace(0, 1, 2001)
    inside = []
    for place in places:
        difference = ((1 - place) * few + place * many - other)[:, 0]
        low, high = stats.ttest_1samp(difference, 0).confidence_interval()
        inside.append(low <= 0 <= high)
    ends = 4 ** places[np.flatnonzero(inside)[[0, -1]]]
    assert (found.low, found.high) == pytest.approx(tuple(ends), rel=0.04)
    assert found.low < found.needed < found.high


def test_a_curve_that_is_never_significantly_better_has_no_upper_end() -> None:
    generator = np.random.default_rng(1)
    noisy = generator.normal(0.5, 0.2, (5, 2))
    found = labels_needed({1: noisy - 0.3, 4: noisy + generator.normal(0, 0.2, (5, 2))}, noisy)
    assert found.high == math.inf
