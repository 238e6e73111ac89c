"""Resampling keeps patients, seeds and draws together, as loops written out do."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.cohort import dscagg
from hilum.evaluation.hierarchy import cluster_interval, hierarchical_interval, hierarchical_means


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


def test_a_pooled_difference_resamples_whole_patients_in_both_arms() -> None:
    generator = np.random.default_rng(1)

    def arm(gain: float) -> dict[str, np.ndarray]:
        volume = np.linspace(5, 60, 9)
        return {
            "intersection_ml": volume * (0.5 + gain),
            "volume_ml": volume * 1.1,
            "reference_volume_ml": volume,
        }

    value, low, high = cluster_interval(arm(0.1), dscagg, arm(0.0))
    assert value == pytest.approx(2 * 0.1 / 2.1)
    assert (low, high) == (pytest.approx(value), pytest.approx(value))
    hard = arm(0.0)
    hard["intersection_ml"] = hard["intersection_ml"] * generator.uniform(0.3, 1, 9)
    found, low, high = cluster_interval(hard, dscagg, n=4000)
    samples = []
    for _ in range(3000):
        pick = generator.integers(0, 9, 9)
        samples.append(dscagg({k: v[pick].sum()[None] for k, v in hard.items()})[0])
    assert found == pytest.approx(dscagg({k: v.sum()[None] for k, v in hard.items()})[0])
    assert (low, high) == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=0.015)
