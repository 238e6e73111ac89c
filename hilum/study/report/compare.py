"""What a study concludes: each arm with its interval, and arms compared patient by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hilum.evaluation.metrics.table import METRICS
from hilum.evaluation.statistics.bootstrap import cluster_interval
from hilum.evaluation.statistics.bounds import reach
from hilum.evaluation.statistics.cohort import POOLS, cohort_metrics
from hilum.evaluation.statistics.comparison import Comparison, holm, paired_comparison
from hilum.evaluation.statistics.equivalence import (
    LEVEL,
    Equivalence,
    equivalence,
    without_difference,
)
from hilum.evaluation.statistics.moderation import StudyVariances, study_variances
from hilum.evaluation.statistics.runs import align, models

from ..grid.arms import REPEATS, repeating
from ..settings import StudySettings
from .measurements import PatientRuns, Row, by_arm, per_patient, sums_of

Interval = dict[str, float]

SHOWN = ("dice", "dscagg", "f1agg", "lesion_sensitivity", "nsd_2mm", "hd95_mm")
"""Columns of the main table, as far as the cells measured them."""


@dataclass(frozen=True)
class ArmSummary:
    """One arm under one condition: pooled and mean metrics with intervals."""

    arm: str
    condition: str
    seeds: int
    patients: int
    metrics: dict[str, Interval]
    draws: int = 1


def summarise(rows: Sequence[Row], conditions: Sequence[str]) -> list[ArmSummary]:
    """Return the metrics of every arm, with intervals over patients, draws and seeds."""
    found = []
    for condition in conditions:
        for name, own in by_arm(rows, condition).items():
            cases = {f"{row.case}/{row.run}": row for row in own}
            patients = {key: row.patient for key, row in cases.items()}
            metrics = cohort_metrics(
                {key: row.metrics for key, row in cases.items()},
                patients,
                {key: row.run for key, row in cases.items()},
            )
            runs = align([per_patient_of_any(own)])
            seeds, draws = runs.n_seeds, runs.n_draws
            found.append(
                ArmSummary(name, condition, seeds, len(set(patients.values())), metrics, draws)
            )
    return found


def per_patient_of_any(rows: Sequence[Row]) -> PatientRuns:
    """Return which patients were measured in which run, without any metric."""
    found: PatientRuns = {}
    for row in rows:
        found.setdefault(row.patient, {})[row.run] = 0.0
    return found


@dataclass(frozen=True)
class Paired:
    """One comparison of two arms, and what else is known about their difference.

    Attributes:
        question: What is compared with what.
        comparison: The difference of the study's metric.
        p_adjusted: P value of the random effects, adjusted for all comparisons of the factor.
        p_patients_adjusted: That of the sign-flip test.
        p_wilcoxon_adjusted: That of the signed-rank test.
        equal: Whether the arms are the same within the study's margin.
        pooled: Difference and 95 % interval of pooled metrics, from a cluster bootstrap.
        factor: Factor that differs.
    """

    question: str
    comparison: Comparison
    p_adjusted: float
    p_patients_adjusted: float = 1.0
    p_wilcoxon_adjusted: float = 1.0
    equal: Equivalence | None = None
    pooled: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    factor: str = ""

    def verdict(self, metric: str) -> str:
        """Say in a few words what the comparison supports."""
        c = self.comparison
        if not c.supported:
            return f"not supported: {c.note}"
        if self.p_adjusted < LEVEL:
            return "better" if (c.difference > 0) == higher_is_better(metric) else "worse"
        return without_difference(c.p_value, self.equal)


def others(arms: Sequence[ArmSummary]) -> str:
    """Say what intervals of arms are for: nothing varies that each arm has but one of."""
    parts = ["patients"]
    parts += ["draws of labelled patients"] if any(arm.draws > 1 for arm in arms) else []
    parts += ["seeds"] if any(arm.seeds > 1 for arm in arms) else []
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def higher_is_better(metric: str) -> bool:
    """Say which direction of a metric is better."""
    return metric not in METRICS or METRICS[metric].better != "lower"


def compare(study: StudySettings, rows: Sequence[Row], condition: str) -> list[Paired]:
    """Compare arms that differ from the reference in one factor at a time.

    For every factor that does not repeat arms, each arm at the reference's level of that factor is
    compared with the arms that are equal to it but for that factor. P values are adjusted by Holm's
    method over all comparisons of a factor. The variance between runs of each comparison is
    moderated by that of all arms.
    """
    arms = by_arm(rows, condition)
    levels = {row.arm: row.levels for row in rows if row.condition == condition}
    at = {_key(own): name for name, own in levels.items()}
    values = {name: per_patient(own, study.metric) for name, own in arms.items()}
    sums = {name: sums_of(own) for name, own in arms.items()}
    shared = variances(values)
    found: list[Paired] = []
    repeats = repeating(study)
    for factor, base in study.reference.items():
        if factor in repeats:
            continue
        pairs = [
            (name, at[other])
            for name in arms
            for other in [_key(levels[name] | {factor: base})]
            if levels[name][factor] != base and other in at
        ]
        results = [
            paired_comparison(
                values[name],
                values[other],
                name=_question(levels[name], factor, base),
                study=shared,
                reach=reach(study.metric),
            )
            for name, other in pairs
        ]
        adjusted = [
            holm([getattr(result, key) for result in results])
            for key in ("p_value", "p_patients", "p_wilcoxon")
        ]
        found += [
            Paired(
                result.name,
                result,
                *(family[number] for family in adjusted),
                equal=equivalence(result.table, study.margin, shared)
                if result.n_patients
                else None,
                pooled=_pooled(sums[name], sums[other]),
                factor=factor,
            )
            for number, ((name, other), result) in enumerate(zip(pairs, results, strict=True))
        ]
    return found


def variances(values: Mapping[str, PatientRuns]) -> StudyVariances | None:
    """Return what all arms say of the variance between runs, on what they have in common."""
    known = [own for own in values.values() if own]
    if len(known) < 2:
        return None
    aligned = align(known, common=False)
    return study_variances(np.stack([models(table, aligned.draws) for table in aligned.cube]))


def _question(levels: Mapping[str, object], factor: str, base: object) -> str:
    """Return `mae vs. scratch (fusion: late, labels: 8)`."""
    rest = ", ".join(
        f"{name}: {level}" for name, level in levels.items() if name not in (factor, *REPEATS)
    )
    return f"{levels[factor]} vs. {base}" + (f" ({rest})" if rest else "")


def _key(levels: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(level)) for name, level in levels.items() if name not in REPEATS)


def _pooled(
    one: Mapping[str, PatientRuns], other: Mapping[str, PatientRuns]
) -> dict[str, tuple[float, float, float]]:
    """Return the differences of DSCagg and F1agg on the patients and runs that both arms have."""
    both = {key: align([one[key], other[key]]) for key in one}
    first = next(iter(both.values()))
    whole = np.isfinite(first.cube).all((0, 2))
    if whole.sum() < 2 or not first.runs:
        return {}
    cubes = {key: found.cube[:, whole] for key, found in both.items()}
    return {
        metric: cluster_interval(
            {key: cube[0] for key, cube in cubes.items()},
            POOLS[metric],
            {key: cube[1] for key, cube in cubes.items()},
            draws=first.draws,
        )
        for metric in ("dscagg", "f1agg")
    }
