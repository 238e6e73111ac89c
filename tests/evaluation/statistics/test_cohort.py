"""Cohort metrics are means over patients or pooled sums, with intervals over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hilum.evaluation.statistics.cohort import cohort_metrics

CASES = {
    "a": {"dice": 0.5, "intersection_ml": 1.0, "volume_ml": 2.0, "reference_volume_ml": 2.0,
          "lesion_tp": 1.0, "lesion_fp": 0.0, "lesion_fn": 1.0, "found_lt5": 1.0,
          "lesions_lt5": 2.0},
    "b": {"dice": 0.9, "intersection_ml": 9.0, "volume_ml": 10.0, "reference_volume_ml": 10.0,
          "lesion_tp": 3.0, "lesion_fp": 2.0, "lesion_fn": 0.0, "found_lt5": 0.0,
          "lesions_lt5": 0.0},
    "c": {"dice": 1.0, "intersection_ml": 0.0, "volume_ml": 0.0, "reference_volume_ml": 0.0,
          "lesion_tp": 0.0, "lesion_fp": 0.0, "lesion_fn": 0.0},
}  # fmt: skip


def test_values_by_hand() -> None:
    got = cohort_metrics(CASES)
    assert got["dice"]["value"] == pytest.approx(0.8)
    assert got["dscagg"]["value"] == pytest.approx(2 * 10 / 24)
    assert got["f1agg"]["value"] == pytest.approx(8 / (8 + 2 + 1))
    assert got["sensitivity_lt5"]["value"] == pytest.approx(0.5)
    assert got["dice"]["n"] == 3


def test_a_patients_cases_are_averaged_first() -> None:
    got = cohort_metrics(CASES, {"a": "p", "b": "p", "c": "q"})
    assert got["dice"]["value"] == pytest.approx((0.7 + 1.0) / 2)
    assert got["dscagg"]["value"] == pytest.approx(2 * 10 / 24), "pooling ignores patients"
    assert got["dice"]["n"] == 2


def test_undefined_values_are_left_out_and_counted() -> None:
    got = cohort_metrics({"a": {"hd95_mm": 4.0}, "b": {"hd95_mm": math.nan}})
    assert got["hd95_mm"]["value"] == 4.0
    assert got["hd95_mm"]["n"] == 1


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 30)
    got = cohort_metrics({str(i): {"dice": v} for i, v in enumerate(values)})["dice"]
    draws = np.random.default_rng(1).choice(values, (20_000, 30)).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert got["ci_low"] == pytest.approx(low, abs=0.004)
    assert got["ci_high"] == pytest.approx(high, abs=0.004)


def test_with_runs_the_interval_is_that_of_patients_and_models() -> None:
    """Patients are alike and the three models are not: drawing patients alone would see nothing."""
    of_models = (0.5, 0.6, 0.7)
    cases = {f"{p}/{r}": {"dice": of_models[r]} for p in range(8) for r in range(3)}
    patients = {name: name.split("/")[0] for name in cases}
    runs = {name: int(name.split("/")[1]) for name in cases}
    alone = cohort_metrics(cases, patients)["dice"]
    assert (alone["ci_low"], alone["ci_high"]) == pytest.approx((0.6, 0.6))
    both = cohort_metrics(cases, patients, runs)["dice"]
    draws = np.random.default_rng(0).choice(of_models, (20_000, 3)).mean(1)
    assert both["value"] == pytest.approx(0.6)
    assert (both["ci_low"], both["ci_high"]) == pytest.approx(
        tuple(np.percentile(draws, [2.5, 97.5])), abs=0.02
    )


def test_one_patient_has_no_interval() -> None:
    assert math.isnan(cohort_metrics({"a": {"dice": 0.5}})["dice"]["ci_low"])


def test_no_cases_give_no_metrics() -> None:
    assert cohort_metrics({}) == {}
