"""Agreement equals the published formulas, written slowly."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

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


def test_the_intraclass_correlation_from_the_mean_squares_of_statsmodels() -> None:
    """McGraw and Wong, ICC(A,1), from a two-way analysis of variance."""
    draw = np.random.default_rng(4)
    r = draw.normal(5, 2, 12)
    p = r + draw.normal(0.7, 1, 12)
    frame = pd.DataFrame({"y": [*p, *r], "patient": [*range(12)] * 2, "side": [0] * 12 + [1] * 12})
    squares = anova_lm(ols("y ~ C(patient) + C(side)", frame).fit())["mean_sq"]
    patients, sides, rest = (squares[key] for key in ("C(patient)", "C(side)", "Residual"))
    want = (patients - rest) / (patients + rest + 2 / 12 * (sides - rest))
    assert agreement(p.tolist(), r.tolist()).icc == pytest.approx(want)
    assert math.isnan(agreement([1.0, 1.0], [1.0, 1.0]).icc)
    assert math.isnan(agreement([1.0], [2.0]).icc)
