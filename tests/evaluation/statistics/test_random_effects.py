"""Random effects of patients and seeds: by hand, against scipy, and on made studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.random_effects import estimate


def slow_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of patients, seeds and both, sum by sum."""
    patients, seeds = table.shape
    mean = sum(table[p, s] for p in range(patients) for s in range(seeds)) / table.size
    row = [sum(table[p, s] for s in range(seeds)) / seeds for p in range(patients)]
    column = [sum(table[p, s] for p in range(patients)) / patients for s in range(seeds)]
    of_patients = sum(seeds * (r - mean) ** 2 for r in row) / (patients - 1)
    of_seeds = sum(patients * (c - mean) ** 2 for c in column) / (seeds - 1)
    rest = sum(
        (table[p, s] - row[p] - column[s] + mean) ** 2
        for p in range(patients)
        for s in range(seeds)
    )
    return of_patients, of_seeds, rest / ((patients - 1) * (seeds - 1))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_interval_is_that_of_the_formula(strength: float) -> None:
    generator = np.random.default_rng(0)
    table = 0.2 + generator.normal(0, 1, (7, 1)) + generator.normal(0, 0.5, (7, 4))
    table = table + strength * generator.normal(0, 1, (1, 4))
    of_patients, of_seeds, of_both = slow_squares(table)
    extra = max(of_seeds - of_both, 0)
    total = of_patients + extra
    parts = of_patients**2 / 6
    if extra:
        parts += of_seeds**2 / 3 + of_both**2 / 18
    error = (total / 28) ** 0.5
    got = estimate(table)
    assert got.error == pytest.approx(error)
    assert got.freedom == pytest.approx(total**2 / parts)
    reach = stats.t.ppf(0.975, total**2 / parts) * error
    assert (got.low, got.high) == (
        pytest.approx(table.mean() - reach),
        pytest.approx(table.mean() + reach),
    )


def test_one_seed_is_a_t_test_over_patients() -> None:
    table = np.random.default_rng(1).normal(0.1, 0.2, (9, 1))
    theirs = stats.ttest_1samp(table[:, 0], 0)
    got = estimate(table)
    assert got.p_value == pytest.approx(theirs[1])
    interval = theirs.confidence_interval()
    assert (got.low, got.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_seeds_that_differ_widen_the_interval_though_patients_agree() -> None:
    same = np.tile(np.array([[0.1, -0.1, 0.0]]), (10, 1))
    got = estimate(same + np.random.default_rng(0).normal(0, 0.001, same.shape))
    alone = stats.t.ppf(0.975, 2) * np.std([0.1, -0.1, 0.0], ddof=1) / np.sqrt(3)
    assert got.high - got.mean == pytest.approx(alone, rel=0.02)


def test_patients_without_a_value_for_a_seed_are_left_out() -> None:
    table = np.random.default_rng(2).normal(0, 1, (6, 3))
    holed = table.copy()
    holed[2, 1] = np.nan
    assert estimate(holed) == estimate(np.delete(table, 2, 0))


def test_a_seed_without_any_value_is_left_out() -> None:
    table = np.random.default_rng(2).normal(0, 1, (6, 3))
    wider = np.column_stack([table, np.full(6, np.nan)])
    assert estimate(wider) == estimate(table)


@pytest.mark.parametrize(
    ("table", "p_value"),
    [(np.zeros((0, 2)), 1.0), (np.ones((1, 3)), 1.0), (np.ones((4, 2)), 0.0)],
)
def test_the_smallest_tables(table: np.ndarray, p_value: float) -> None:
    assert estimate(table).p_value == p_value
