"""Cohort metrics are means over patients or pooled sums, with intervals over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.bootstrap import cluster_interval
from hilum.evaluation.statistics.cohort import cohort_metrics, dscagg

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


def logit_t(values: np.ndarray) -> tuple[float, float]:
    """Return the t interval of a mean on the scale of logits, step by step."""
    mean, error = float(values.mean()), float(stats.sem(values))
    reach = stats.t.ppf(0.975, len(values) - 1) * error / (mean * (1 - mean))
    centre = math.log(mean / (1 - mean))
    low, high = (1 / (1 + math.exp(-(centre + sign * reach))) for sign in (-1, 1))
    return low, high


def test_the_interval_of_a_fraction_is_a_t_interval_of_logits() -> None:
    values = np.random.default_rng(0).beta(6, 2, 7)
    got = cohort_metrics({str(i): {"dice": v} for i, v in enumerate(values)})["dice"]
    assert (got["ci_low"], got["ci_high"]) == pytest.approx(logit_t(values))


def test_the_interval_of_a_distance_is_a_t_interval_that_ends_at_zero() -> None:
    values = [1.0, 2.0, 9.0, 4.0]
    got = cohort_metrics({str(i): {"hd95_mm": v} for i, v in enumerate(values)})["hd95_mm"]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert low < 0
    assert (got["ci_low"], got["ci_high"]) == pytest.approx((0.0, high))


def test_with_runs_the_interval_is_that_of_patients_and_models() -> None:
    """Patients are alike and the three models are not: drawing patients alone would see nothing."""
    of_models = (0.5, 0.6, 0.7)
    cases = {f"{p}/{r}": {"dice": of_models[r]} for p in range(8) for r in range(3)}
    patients = {name: name.split("/")[0] for name in cases}
    runs = {name: int(name.split("/")[1]) for name in cases}
    alone = cohort_metrics(cases, patients)["dice"]
    assert (alone["ci_low"], alone["ci_high"]) == pytest.approx((0.6, 0.6))
    both = cohort_metrics(cases, patients, runs)["dice"]
    assert both["value"] == pytest.approx(0.6)
    assert (both["ci_low"], both["ci_high"]) == pytest.approx(logit_t(np.array(of_models)))


def test_a_pooled_metric_is_the_mean_of_what_each_run_reaches() -> None:
    """A run that predicts a large volume counts as any other; an arm's number is a comparison's."""
    cases = {
        "a/0": {"intersection_ml": 1.0, "volume_ml": 2.0, "reference_volume_ml": 2.0},
        "b/0": {"intersection_ml": 3.0, "volume_ml": 4.0, "reference_volume_ml": 4.0},
        "a/1": {"intersection_ml": 2.0, "volume_ml": 98.0, "reference_volume_ml": 2.0},
        "b/1": {"intersection_ml": 4.0, "volume_ml": 96.0, "reference_volume_ml": 4.0},
    }
    patients = {name: name[0] for name in cases}
    got = cohort_metrics(cases, patients, {name: int(name[2]) for name in cases})["dscagg"]
    each = [2 * 4 / 12, 2 * 6 / 200]
    assert got["value"] == pytest.approx(np.mean(each))
    sums = {
        key: np.array([[cases[f"{p}/{r}"][key] for r in (0, 1)] for p in "ab"])
        for key in cases["a/0"]
    }
    assert got["value"] == pytest.approx(cluster_interval(sums, dscagg, n=10)[0])


def test_draws_count_alike_however_many_seeds_they_have() -> None:
    cases = {f"{p}/{r}": {"dice": (0.2, 0.4, 0.9)[r]} for p in range(4) for r in range(3)}
    patients = {name: name.split("/")[0] for name in cases}
    runs = {name: ((0, 0), (0, 1), (1, 0))[int(name[-1])] for name in cases}
    assert cohort_metrics(cases, patients, runs)["dice"]["value"] == pytest.approx(0.6)


def test_a_sensitivity_counts_its_lesions_and_the_patients_that_have_some() -> None:
    got = cohort_metrics(CASES)["sensitivity_lt5"]
    assert (got["n"], got["lesions"]) == (1, 2)
    assert (got["ci_low"], got["ci_high"]) == (0.0, 1.0), "one patient says nothing of others"
    none = cohort_metrics(CASES)["sensitivity_ge15"]
    assert (none["n"], none["lesions"]) == (0, 0)
    assert math.isnan(none["value"])


def test_perfect_in_every_patient_is_no_interval_of_no_width() -> None:
    got = cohort_metrics({name: {"dice": 1.0} for name in "abc"})["dice"]
    assert got["value"] == 1.0
    assert math.isnan(got["ci_low"])


@pytest.mark.parametrize("seed", range(20))
def test_no_interval_leaves_the_values_that_a_metric_can_have(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cases = {}
    for number in range(int(generator.integers(2, 6))):
        volume, reference = generator.lognormal(1, 1, 2)
        cases[str(number)] = {
            "dice": float(generator.random() > 0.5),
            "intersection_ml": float(generator.random() * min(volume, reference)),
            "volume_ml": float(volume),
            "reference_volume_ml": float(reference),
            "lesion_tp": float(generator.integers(0, 3)),
            "lesion_fp": float(generator.integers(0, 3)),
            "lesion_fn": float(generator.integers(0, 3)),
        }
    for found in cohort_metrics(cases).values():
        if found["ci_low"] == found["ci_low"]:
            assert 0 <= found["ci_low"] <= found["value"] <= found["ci_high"] <= 1


def test_one_patient_has_no_interval() -> None:
    assert math.isnan(cohort_metrics({"a": {"dice": 0.5}})["dice"]["ci_low"])


def test_no_cases_give_no_metrics() -> None:
    assert cohort_metrics({}) == {}


def test_few_nodes_that_were_all_found_have_the_interval_of_as_many_patients() -> None:
    """The ends are those of scipy's exact test; a patient's many nodes count as one."""
    cases = {f"c{n}": {"found_lt5": 4.0, "lesions_lt5": 4.0} for n in range(3)}
    got = cohort_metrics(cases)["sensitivity_lt5"]
    exact = stats.binomtest(3, 3).proportion_ci(method="exact")
    assert (got["ci_low"], got["ci_high"]) == pytest.approx((exact.low, exact.high))
    none = {name: {**case, "found_lt5": 0.0} for name, case in cases.items()}
    got = cohort_metrics(none)["sensitivity_lt5"]
    exact = stats.binomtest(0, 3).proportion_ci(method="exact")
    assert (got["ci_low"], got["ci_high"]) == pytest.approx((exact.low, exact.high))
    one = cohort_metrics({"c": {"found_lt5": 1.0, "lesions_lt5": 2.0}})["sensitivity_lt5"]
    assert (one["value"], one["ci_low"], one["ci_high"]) == (0.5, 0.0, 1.0)
