"""Intervals of few patients hold the truth about as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.interval_simulation import (
    CohortKind,
    bca,
    coverage,
    labels_coverage,
    simulate,
)
from hilum.evaluation.statistics.intervals import interval

SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24,
           26, 30, 41]  # fmt: skip
"""Efron and Tibshirani, 1993, table 14.1: spatial test A."""


def test_bca_is_that_of_efron_and_tibshirani() -> None:
    """The variance of the spatial test data at 90 %: (115.8, 259.6), a = 0.061 (table 14.2)."""
    data = np.array(SPATIAL, float)
    picks = np.random.default_rng(0).integers(0, 26, (40_000, 26))
    samples = np.sort(data[picks].var(1))[None]
    without = np.array([np.delete(data, i).var() for i in range(26)])[None]
    low, high = bca(samples, np.array([data.var()]), without, 0.9)
    assert (low[0], high[0]) == (pytest.approx(115.8, abs=3), pytest.approx(259.6, abs=4))
    theirs = stats.bootstrap(
        (data,), np.var, confidence_level=0.9, method="BCa", n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (low[0], high[0]) == (
        pytest.approx(theirs.low, abs=1.5),
        pytest.approx(theirs.high, abs=2.5),
    )


@pytest.mark.parametrize("kind", ["normal Dice", "skewed Dice", "F1agg"])
@pytest.mark.parametrize("patients", [3, 5, 8])
def test_an_interval_of_few_patients_keeps_its_promise_where_percentiles_do_not(
    kind: CohortKind, patients: int
) -> None:
    found = coverage(kind, patients, 600)
    assert found["logit t"][0] >= 0.91
    assert found["percentile"][0] <= 0.92
    assert found["logit t"][0] > found["BCa"][0]


def test_the_simulated_way_is_the_reported_one() -> None:
    """`interval` on one cohort at a time holds the truth as often as the simulation says."""
    top, _ = simulate("skewed Dice", 5, 400, np.random.default_rng(0))
    ends = [interval(float(row.mean()), row[:, None], (0.0, 1.0)) for row in top]
    assert np.mean([low <= 0.75 <= high for low, high in ends]) == pytest.approx(0.945, abs=0.035)


def test_labels_needed_with_few_patients_holds_the_true_number() -> None:
    assert labels_coverage(4, 2, 30) >= 0.8


def test_one_patient_and_perfection_have_no_interval() -> None:
    assert math.isnan(interval(0.5, np.array([[0.5]]), (0.0, 1.0))[0])
    assert math.isnan(interval(1.0, np.ones((4, 1)), (0.0, 1.0))[0])
    assert interval(0.5, np.full((4, 1), 0.5), (0.0, 1.0)) == (0.5, 0.5)


def test_patients_without_a_value_for_some_run_count_in_the_mean_alone() -> None:
    table = np.random.default_rng(0).normal(5, 1, (8, 2))
    whole = interval(5.0, table, (0.0, math.inf))
    holed = np.vstack([table, [[5.0, np.nan]]])
    more = interval(5.0, holed, (0.0, math.inf))
    assert 5.0 - more[0] == pytest.approx((5.0 - whole[0]) * math.sqrt(8 / 9))
