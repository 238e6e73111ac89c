"""Compare two arms patient by patient: a difference with its interval and a paired test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from hilum.core.counts import many
from hilum.core.seeds import numpy_generator

from .bootstrap import hierarchical_interval
from .moderation import StudyVariances
from .random_effects import estimate
from .runs import Values, align, models, row_means

EXACT_UP_TO = 14
LEAST_SEEDS, LEAST_PATIENTS = 2, 5


@dataclass(frozen=True)
class Comparison:
    """What two arms say against each other.

    Attributes:
        name: What is compared.
        mean_a: Mean of the first arm over patients.
        mean_b: Mean of the second.
        difference: First minus second.
        ci_low: Lower end of the 95 % interval, for other patients, draws and seeds.
        ci_high: Upper end.
        p_value: Two-sided p value of no difference, for other patients, draws and seeds.
        p_patients: Sign-flip permutation test over patients, for these very runs.
        p_wilcoxon: Wilcoxon signed-rank test over patients, for these very runs.
        bootstrap: Ends of the hierarchical bootstrap's 95 % interval.
        n_patients: Patients that both arms have.
        n_seeds: Seeds that both arms have.
        n_draws: Draws of the labelled patients that both arms have.
        supported: Whether there are enough seeds and patients to speak of a difference.
        note: Why not, if not.
        table: The differences, `[patients, models]` as in `runs.models`.
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
    n_draws: int
    supported: bool
    note: str
    table: np.ndarray = field(repr=False, compare=False)


def paired_comparison(
    a: Values,
    b: Values,
    *,
    name: str = "",
    study: StudyVariances | None = None,
    reach: float = math.inf,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two arms on the patients and runs that both have.

    The unit is the patient, and runs are an axis of their own: interval and p value are those of
    two-way random effects (`random_effects.estimate`), which hold for other patients, other draws
    of the labelled patients and other seeds. Permutation and signed-rank test average the runs
    within a patient first; their p values are conditional on the runs at hand.

    Args:
        a: `a[patient][run]` of the first arm; a run is a seed, or a draw and a seed.
        b: The same of the second.
        name: What is compared.
        study: What all arms of the study say of the variances (`moderation.study_variances`).
        reach: Largest difference that the metric can have; the interval ends there.
        n_bootstrap: Resamples.
        seed: Seed of resampling and permutation.
    """
    both = align([a, b])
    table_a, table_b = both.cube
    delta = table_a - table_b
    per_patient = row_means(delta)
    good = np.isfinite(per_patient)
    delta, per_patient = delta[good], per_patient[good]
    if not len(per_patient):
        return _nothing(name, both.n_seeds, both.n_draws)
    base = float(row_means(np.where(np.isfinite(delta), table_b[good], np.nan)).mean())
    table = models(delta, both.draws)
    found = estimate(table, study).clipped(reach)
    note = too_few(len(per_patient), both.n_seeds)
    return Comparison(
        name=name,
        mean_a=base + found.mean,
        mean_b=base,
        difference=found.mean,
        ci_low=found.low,
        ci_high=found.high,
        p_value=found.p_value,
        p_patients=sign_flip(per_patient, seed=seed),
        p_wilcoxon=_wilcoxon(per_patient),
        bootstrap=hierarchical_interval(delta, draws=both.draws, n=n_bootstrap, seed=seed),
        n_patients=len(per_patient),
        n_seeds=both.n_seeds,
        n_draws=both.n_draws,
        supported=not note,
        note=note,
        table=table,
    )


def too_few(patients: int, seeds: int) -> str:
    """Say what there is too little of to speak of a difference; empty if there is enough."""
    if seeds < LEAST_SEEDS:
        return "one seed"
    return many(patients, "patient") if patients < LEAST_PATIENTS else ""


def _nothing(name: str, seeds: int, draws: int) -> Comparison:
    nan = math.nan
    return Comparison(
        name=name,
        mean_a=nan,
        mean_b=nan,
        difference=nan,
        ci_low=nan,
        ci_high=nan,
        p_value=1.0,
        p_patients=1.0,
        p_wilcoxon=1.0,
        bootstrap=(nan, nan),
        n_patients=0,
        n_seeds=seeds,
        n_draws=draws,
        supported=False,
        note="no patient in both arms",
        table=np.zeros((0, 0)),
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
