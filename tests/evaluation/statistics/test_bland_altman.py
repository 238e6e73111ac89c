"""Agreement equals the published formulas, written slowly."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from hilum.evaluation.statistics.bland_altman import agreement

P, R = [1.0, 2.5, 3.0, 7.0, 4.0], [1.2, 2.0, 3.5, 6.0, 0.0]


def test_bias_and_limits_by_bland_and_altman() -> None:
    got = agreement(P, R)
    differences = [p - r for p, r in zip(P, R, strict=True)]
    half = 1.96 * statistics.stdev(differences)
    assert got.bias == pytest.approx(statistics.mean(differences))
    assert (got.low, got.high) == pytest.approx((got.bias - half, got.bias + half))
    relative = [0.2 / 1.2, 0.5 / 2, 0.5 / 3.5, 1 / 6]
    assert got.median_relative_error == pytest.approx(statistics.median(relative))


def test_concordance_by_lin() -> None:
    """Twice the correlation times both deviations, over variances and squared shift."""
    rho = np.corrcoef(P, R)[0, 1]
    a, b = statistics.pstdev(P), statistics.pstdev(R)
    shift = statistics.mean(P) - statistics.mean(R)
    assert agreement(P, R).ccc == pytest.approx(2 * rho * a * b / (a**2 + b**2 + shift**2))


def test_equal_measures_agree_wholly() -> None:
    got = agreement(R, R)
    assert (got.bias, got.low, got.high) == (0, 0, 0)
    assert got.ccc == pytest.approx(1)


def test_undefined_pairs_are_left_out_and_counted() -> None:
    assert agreement([1.0, math.nan, 3.0], [1.0, 2.0, 3.0]).n == 2
    assert agreement([], []).n == 0
    assert math.isnan(agreement([1.0], [2.0]).low)
