"""Node status of patients against statsmodels and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix
from statsmodels.stats.proportion import proportion_confint

from hilum.evaluation.statistics.node_status import node_status, proportion


def row(predicted: float, reference: float) -> dict[str, float]:
    return {"node_positive": predicted, "reference_node_positive": reference}


def test_counts_and_kappa_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    reference = draw.random(40) < 0.6
    predicted = np.where(draw.random(40) < 0.8, reference, ~reference)
    cases = {
        str(n): row(*map(float, both))
        for n, both in enumerate(zip(predicted, reference, strict=True))
    }
    found = node_status(cases, {name: name for name in cases})
    (tn, fp), (fn, tp) = confusion_matrix(reference, predicted)
    assert [found[key] for key in ("tp", "fp", "fn", "tn", "unknown")] == [tp, fp, fn, tn, 0]
    assert found["kappa"] == pytest.approx(cohen_kappa_score(reference, predicted))
    assert found["sensitivity"]["value"] == pytest.approx(tp / (tp + fn))
    assert found["specificity"]["value"] == pytest.approx(tn / (tn + fp))
    assert found["ppv"]["value"] == pytest.approx(tp / (tp + fp))
    assert found["npv"]["value"] == pytest.approx(tn / (tn + fn))
    assert found["accuracy"]["n"] == 40


@pytest.mark.parametrize(("hits", "total"), [(0, 7), (3, 8), (21, 24), (5, 5)])
def test_intervals_are_those_of_statsmodels(hits: int, total: int) -> None:
    found = proportion(hits, total)
    want = proportion_confint(hits, total, method="wilson")
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(want, abs=1e-12)


def test_a_patient_is_positive_if_a_case_is_and_unknown_if_nobody_can_say() -> None:
    cases = {
        "a1": row(0, 0),
        "a2": row(1, 1),
        "b1": row(0, math.nan),
        "b2": row(1, 0),
        "c1": row(0, math.nan),
        "c2": row(0, 1),
    }
    found = node_status(cases, {name: name[0] for name in cases})
    assert [found[key] for key in ("tp", "fp", "fn", "tn", "unknown")] == [1, 0, 1, 0, 1]


def test_nothing_is_undefined_not_perfect() -> None:
    found = node_status({"a": row(1, 1)}, {"a": "a"})
    assert math.isnan(found["kappa"])
    assert math.isnan(found["specificity"]["value"])
