"""Intervals end at the values that a metric can have, and nowhere where that is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.evaluation.metrics.table import METRICS, Metric
from hilum.evaluation.statistics.bounds import bounds
from hilum.evaluation.statistics.cohort import cohort_metrics

ANY, POSITIVE, FRACTION = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("dice", FRACTION),
        ("nsd_3mm", FRACTION),
        ("rater_errors", FRACTION),
        ("sensitivity_lt5", FRACTION),
        ("hd95_mm", POSITIVE),
        ("fpv_ml", POSITIVE),
        ("false_positives", POSITIVE),
        ("rater_disagreement_ml", POSITIVE),
        ("volume_error_ml", ANY),
        ("tlg_error", ANY),
        ("suv_peak_error", ANY),
        ("not_of_hilum", ANY),
    ],
)
def test_the_values_that_a_metric_can_have(metric: str, values: tuple[float, float]) -> None:
    assert bounds(metric) == values


def test_a_metric_of_others_has_an_interval_around_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Metric("Kappa in percent", "", "", measure=lambda *_: 0.0)
    monkeypatch.setitem(METRICS.registered, "percent", own)
    values = np.array([60.0, 70.0, 80.0, 90.0])
    found = cohort_metrics({f"p{n}": {"percent": value} for n, value in enumerate(values)})
    half = 3.182446 * values.std(ddof=1) / 2  # t of 3 degrees of freedom, by a table
    mean = found["percent"]
    assert (mean["value"], mean["ci_low"], mean["ci_high"]) == pytest.approx(
        (75, 75 - half, 75 + half), rel=1e-5
    )


def test_a_fraction_at_which_raters_differ_has_an_interval_inside_of_it() -> None:
    cases = {f"p{n}": {"rater_errors": value} for n, value in enumerate((0.05, 0.1, 0.9, 0.95))}
    found = cohort_metrics(cases)["rater_errors"]
    assert 0 < found["ci_low"] < found["value"] < found["ci_high"] < 1
