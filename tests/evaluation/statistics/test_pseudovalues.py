"""Leaving out each patient once: the mean is the metric, the spread is the metric's."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.statistics.cohort import dscagg, f1agg
from hilum.evaluation.statistics.pseudovalues import pseudovalues


def sums(generator: np.random.Generator, patients: int) -> dict[str, np.ndarray]:
    volume = np.exp(generator.normal(2, 0.7, (patients, 2)))
    return {
        "intersection_ml": volume * generator.uniform(0.4, 0.9, (patients, 2)),
        "volume_ml": volume * generator.uniform(0.8, 1.2, (patients, 2)),
        "reference_volume_ml": volume,
    }


def test_by_hand() -> None:
    """F1agg of two patients: 2/3 together, 1 and 0 alone."""
    found = pseudovalues(
        {
            "lesion_tp": np.array([[1.0], [0.0]]),
            "lesion_fp": np.array([[0.0], [0.0]]),
            "lesion_fn": np.array([[0.0], [1.0]]),
        },
        f1agg,
    )
    whole, without = 2 / 3, np.array([0.0, 1.0])
    assert found[:, 0] == pytest.approx(whole + (0.5 - without))


def test_their_mean_is_the_metric_of_each_run() -> None:
    own = sums(np.random.default_rng(0), 11)
    found = pseudovalues(own, dscagg)
    for run in range(2):
        alone = {key: table[:, run].sum()[None] for key, table in own.items()}
        assert found[:, run].mean() == pytest.approx(dscagg(alone)[0])


def test_their_spread_is_that_of_the_metric_over_cohorts() -> None:
    generator = np.random.default_rng(1)
    errors, metrics = [], []
    for _ in range(400):
        own = sums(generator, 20)
        table = pseudovalues(own, dscagg)[:, 0]
        errors.append(table.var(ddof=1) / 20)
        metrics.append(table.mean())
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(metrics), rel=0.1)


def test_a_patient_without_anything_changes_no_metric() -> None:
    own = sums(np.random.default_rng(2), 6)
    wider = {key: np.vstack([table, np.zeros((1, 2))]) for key, table in own.items()}
    assert pseudovalues(wider, dscagg).mean(0) == pytest.approx(pseudovalues(own, dscagg).mean(0))
