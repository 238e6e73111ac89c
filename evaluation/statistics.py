"""Compare two arms patient by patient: a difference with its interval and a paired test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..core.seeds import numpy_generator

Values = Mapping[str, Mapping[int, float]]
"""`values[patient][seed]`."""

EXACT_UP_TO = 14
LEAST_SEEDS = 2


@dataclass(frozen=True)
class Comparison:
    """What two arms say against each other.

    Attributes:
        name: What is compared.
        mean_a: Mean of the first arm over patients.
        mean_b: Mean of the second.
        difference: First minus second.
        ci_low: Lower end of the 95 % interval.
        ci_high: Upper end.
        p_value: Two-sided sign-flip permutation test over patients.
        p_wilcoxon: Two-sided Wilcoxon signed-rank test.
        n_patients: Patients that both arms have.
        n_seeds: Seeds that both arms have.
        supported: Whether there are enough seeds and patients to speak of a difference.
        note: Why not, if not.
    """

    name: str
    mean_a: float
    mean_b: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_wilcoxon: float
    n_patients: int
    n_seeds: int
    supported: bool
    note: str


def paired_comparison(
    a: Values, b: Values, *, name: str = "", n_bootstrap: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two arms on the patients and seeds that both have.

    The unit is the patient: seeds are averaged within a patient for the tests. The interval comes
    from a hierarchical bootstrap that draws patients, and seeds of the whole run of an arm, anew.

    Args:
        a: `a[patient][seed]` of the first arm.
        b: The same of the second.
        name: What is compared.
        n_bootstrap: Resamples.
        seed: Seed of resampling and permutation.
    """
    patients = sorted(set(a) & set(b))
    seeds = sorted({s for p in patients for s in set(a[p]) & set(b[p])})
    table_a, table_b = _table(a, patients, seeds), _table(b, patients, seeds)
    delta = table_a - table_b
    per_patient = _row_means(delta)
    good = np.isfinite(per_patient)
    delta, per_patient = delta[good], per_patient[good]
    count = len(per_patient)
    if not count:
        nan = math.nan
        note = "no patient in both arms"
        return Comparison(name, nan, nan, nan, nan, nan, 1.0, 1.0, 0, len(seeds), False, note)
    low, high = _interval(delta, n_bootstrap, seed)
    note = ""
    if len(seeds) < LEAST_SEEDS:
        note = "one seed"
    elif count < 5:
        note = f"{count} patients"
    return Comparison(
        name=name,
        mean_a=float(_row_means(table_a[good]).mean()),
        mean_b=float(_row_means(table_b[good]).mean()),
        difference=float(per_patient.mean()),
        ci_low=low,
        ci_high=high,
        p_value=sign_flip(per_patient, seed=seed),
        p_wilcoxon=_wilcoxon(per_patient),
        n_patients=count,
        n_seeds=len(seeds),
        supported=not note,
        note=note,
    )


def sign_flip(differences: np.ndarray, n: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p value of a mean of zero when every sign is as likely as its opposite.

    Exact up to 14 patients, by simulation above, where the observed one counts as a draw.
    """
    size = len(differences)
    observed = abs(differences.mean()) - 1e-12
    if size <= EXACT_UP_TO:
        signs = np.array(list(itertools.product((1, -1), repeat=size)))
        return float((np.abs(signs @ differences / size) >= observed).mean())
    signs = numpy_generator(seed, "sign flip").choice([1, -1], (n, size))
    return float(((np.abs(signs @ differences / size) >= observed).sum() + 1) / (n + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down method.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def _interval(delta: np.ndarray, n: int, seed: int) -> tuple[float, float]:
    """Return the percentile interval over patients (rows) and seeds (columns)."""
    generator = numpy_generator(seed, "paired")
    rows, columns = delta.shape
    means = np.empty(n)
    for i in range(n):
        picked = delta[generator.integers(0, rows, rows)]
        if columns > 1:
            picked = picked[:, generator.integers(0, columns, columns)]
        means[i] = np.nanmean(_row_means(picked)) if np.isfinite(picked).any() else np.nan
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)


def _wilcoxon(differences: np.ndarray) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, method="auto").pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def _table(values: Values, patients: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    return np.array(
        [[values[p].get(s, math.nan) for s in seeds] for p in patients], dtype=float
    ).reshape(len(patients), len(seeds))


def _row_means(table: np.ndarray) -> np.ndarray:
    count = np.isfinite(table).sum(1)
    total = np.where(np.isfinite(table), table, 0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
