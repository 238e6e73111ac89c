"""Resampling keeps patients, seeds and draws together, as loops written out do."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.statistics.bootstrap import (
    cluster_interval,
    hierarchical_interval,
    hierarchical_means,
)
from hilum.evaluation.statistics.cohort import dscagg


def slow(table: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    means = []
    for _ in range(n):
        rows = generator.integers(0, table.shape[0], table.shape[0])
        columns = generator.integers(0, table.shape[1], table.shape[1])
        means.append(np.nanmean([[table[r, c] for c in columns] for r in rows]))
    return np.array(means)


def test_means_spread_as_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(0, 1, (8, 1)) + generator.normal(0, 1, (8, 4))
    table[3, 2] = np.nan
    ours, theirs = hierarchical_means(table, n=6000), slow(table, 3000, generator)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.04)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.06)


def test_a_table_of_one_value_has_no_spread() -> None:
    assert hierarchical_interval(np.full((5, 3), 0.25)) == pytest.approx((0.25, 0.25))
    assert np.isnan(hierarchical_interval(np.full((2, 2), np.nan))).all()


def test_draws_that_differ_spread_more_than_their_seeds() -> None:
    """Two draws 1 apart with three equal seeds each: the mean is 0, 1/2 or 1, as the draws fall."""
    table = np.tile(np.array([[0.0, 0, 0, 1, 1, 1]]), (5, 1))
    means = hierarchical_means(table, draws=[0, 0, 0, 1, 1, 1], n=4000)
    values, counts = np.unique(means.round(6), return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def slow_dscagg(arm: dict[str, np.ndarray], rows: np.ndarray, columns: np.ndarray) -> float:
    """Return the mean over runs of 2 sum I / sum (P + G), run by run and patient by patient."""
    found = []
    for run in columns:
        top = sum(2 * arm["intersection_ml"][p, run] for p in rows)
        below = sum(arm["volume_ml"][p, run] + arm["reference_volume_ml"][p, run] for p in rows)
        found.append(top / below)
    return float(np.mean(found))


def arm(generator: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
    volume = np.tile(np.linspace(5, 60, 9)[:, None], (1, 3))
    overlap = generator.uniform(0.3, 0.7, volume.shape) + gain
    return {
        "intersection_ml": volume * overlap,
        "volume_ml": volume * 1.1,
        "reference_volume_ml": volume,
    }


def test_a_pooled_metric_resamples_whole_patients_and_runs() -> None:
    generator = np.random.default_rng(1)
    own = arm(generator, 0.1)
    value, low, high = cluster_interval(own, dscagg, n=4000)
    samples = [
        slow_dscagg(own, generator.integers(0, 9, 9), generator.integers(0, 3, 3))
        for _ in range(2000)
    ]
    assert value == pytest.approx(slow_dscagg(own, np.arange(9), np.arange(3)))
    assert (low, high) == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=0.015)


def test_both_arms_of_a_pooled_difference_see_the_same_samples() -> None:
    base = arm(np.random.default_rng(2), 0.0)
    better = base | {"intersection_ml": base["intersection_ml"] + 0.1 * base["volume_ml"]}
    value, low, high = cluster_interval(better, dscagg, base)
    assert value == pytest.approx(2 * 0.1 * 1.1 / 2.1)
    assert (low, high) == (pytest.approx(value), pytest.approx(value))


def test_every_draw_counts_the_same_however_many_seeds_it_has() -> None:
    own = {
        "intersection_ml": np.array([[1.0, 1.0, 1.0, 0.0]]),
        "volume_ml": np.ones((1, 4)),
        "reference_volume_ml": np.ones((1, 4)),
    }
    assert cluster_interval(own, dscagg, draws=[0, 0, 0, 1])[0] == pytest.approx(0.5)
    assert cluster_interval(own, dscagg)[0] == pytest.approx(0.75)
