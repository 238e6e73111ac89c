"""Compare two arms patient by patient: a difference with its interval and a paired test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..core.seeds import numpy_generator
from .crossed import estimate
from .hierarchy import hierarchical_interval

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
        ci_low: Lower end of the 95 % interval, for other patients and other seeds.
        ci_high: Upper end.
        p_value: Two-sided p value of no difference, for other patients and other seeds.
        p_patients: Sign-flip permutation test over patients, for these very seeds.
        p_wilcoxon: Wilcoxon signed-rank test over patients, for these very seeds.
        bootstrap: Ends of the hierarchical bootstrap's 95 % interval.
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
    p_patients: float
    p_wilcoxon: float
    bootstrap: tuple[float, float]
    n_patients: int
    n_seeds: int
    supported: bool
    note: str


def paired_comparison(
    a: Values, b: Values, *, name: str = "", n_bootstrap: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two arms on the patients and seeds that both have.

    The unit is the patient, and seeds are an axis of their own: interval and p value are those of
    two-way random effects (`crossed.estimate`), which hold for other patients and other seeds.
    Permutation and signed-rank test average the seeds within a patient first; their p values are
    conditional on the seeds at hand.

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
        none = (nan, nan)
        ends = (1.0, 1.0, 1.0, none, 0, len(seeds), False, note)
        return Comparison(name, nan, nan, nan, nan, nan, *ends)
    found = estimate(delta)
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
        ci_low=found.low,
        ci_high=found.high,
        p_value=found.p_value,
        p_patients=sign_flip(per_patient, seed=seed),
        p_wilcoxon=_wilcoxon(per_patient),
        bootstrap=hierarchical_interval(delta, n=n_bootstrap, seed=seed),
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
