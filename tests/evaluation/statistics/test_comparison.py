"""Comparisons are paired by patient, and honest on data without a difference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.statistics.comparison import holm, paired_comparison, sign_flip


def arms(
    generator: np.random.Generator, patients: int, seeds: int, effect: float
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """Return two arms whose patients differ in difficulty and whose seeds add noise."""
    base = generator.normal(0.6, 0.15, patients)
    noise = generator.normal(0, 0.05, (2, patients, seeds))
    a, b = (
        {
            str(p): {s: base[p] + noise[k, p, s] + shift for s in range(seeds)}
            for p in range(patients)
        }
        for k, shift in enumerate((effect, 0.0))
    )
    return a, b


def test_the_difference_is_the_mean_over_patients() -> None:
    a = {"p": {0: 0.6, 1: 0.8}, "q": {0: 0.5, 1: 0.5}, "only a": {0: 0.0}}
    b = {"p": {0: 0.5, 1: 0.5}, "q": {0: 0.6, 1: 0.6}}
    got = paired_comparison(a, b, name="x")
    assert got.difference == pytest.approx((0.2 - 0.1) / 2)
    assert (got.mean_a, got.mean_b) == (pytest.approx(0.6), pytest.approx(0.55))
    assert (got.n_patients, got.n_seeds) == (2, 2)


@pytest.mark.parametrize(
    ("patients", "seeds", "supported", "note"),
    [(8, 2, True, ""), (8, 1, False, "one seed"), (3, 2, False, "3 patients")],
)
def test_one_seed_or_few_patients_support_nothing(
    patients: int, seeds: int, supported: bool, note: str
) -> None:
    got = paired_comparison(*arms(np.random.default_rng(0), patients, seeds, 0.5))
    assert (got.supported, got.note) == (supported, note)


def test_no_common_patient() -> None:
    got = paired_comparison({"p": {0: 1.0}}, {"q": {0: 1.0}})
    assert (got.supported, got.note) == (False, "no patient in both arms")


def test_seeds_of_one_draw_are_no_runs_of_their_own() -> None:
    """Draws decide the difference, seeds hardly: five seeds per draw make nothing surer."""
    generator = np.random.default_rng(4)
    of_draws = generator.normal(0.05, 0.05, 3)
    patients = generator.normal(0, 0.02, 12)
    a = {
        str(p): {
            (d, s): patients[p] + of_draws[d] + generator.normal(0, 0.001)
            for d in range(3)
            for s in range(5)
        }
        for p in range(12)
    }
    b = {patient: dict.fromkeys(runs, 0.0) for patient, runs in a.items()}
    got = paired_comparison(a, b)
    table = np.array([[np.mean([a[p][d, s] for s in range(5)]) for d in range(3)] for p in a])
    assert (got.n_draws, got.n_seeds) == (3, 5)
    assert got.table == pytest.approx(table[np.argsort(list(a))])
    reach = stats.t.ppf(0.975, 2) * table.mean(0).std(ddof=1) / np.sqrt(3)
    assert got.ci_high - got.difference == pytest.approx(reach, rel=0.1)


def test_the_exact_sign_flip_by_hand() -> None:
    d = np.array([0.3, 0.1, -0.05])
    means = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) / 3
             for signs in itertools.product((1, -1), repeat=3)]  # fmt: skip
    expected = np.mean(np.array(means) >= abs(d.mean()) - 1e-12)
    assert sign_flip(d) == pytest.approx(expected)


def test_the_sign_flip_agrees_with_scipys_permutation_test() -> None:
    d = np.random.default_rng(3).normal(0.1, 0.2, 20)
    theirs = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    assert sign_flip(d) == pytest.approx(theirs.pvalue, abs=0.01)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_large_difference_is_seen() -> None:
    got = paired_comparison(*arms(np.random.default_rng(0), 15, 3, 0.2))
    assert got.ci_low > 0
    assert got.p_value < 0.01
    assert got.p_wilcoxon < 0.01
