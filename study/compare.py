"""What a study concludes: each arm with its interval, and arms compared patient by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluation.cohort import cohort_metrics
from ..evaluation.statistics import Comparison, holm, paired_comparison
from .results import Row, arm, by_arm, per_patient
from .settings import StudySettings

Interval = dict[str, float]

SHOWN = ("dice", "dscagg", "f1agg", "lesion_sensitivity", "nsd_2mm", "hd95_mm")
"""Columns of the main table, as far as the cells measured them."""


@dataclass(frozen=True)
class ArmSummary:
    """One arm under one condition: pooled and mean metrics with patient-level intervals."""

    arm: str
    condition: str
    seeds: int
    patients: int
    metrics: dict[str, Interval]


def summarise(rows: Sequence[Row], conditions: Sequence[str]) -> list[ArmSummary]:
    """Return the metrics of every arm; seeds of a patient are averaged before patients are."""
    found = []
    for condition in conditions:
        for name, own in by_arm(rows, condition).items():
            cases = {f"{row.case}/{row.levels.get('seed', 0)}": row.metrics for row in own}
            patients = {f"{row.case}/{row.levels.get('seed', 0)}": row.patient for row in own}
            seeds = {row.levels.get("seed", 0) for row in own}
            found.append(
                ArmSummary(
                    name,
                    condition,
                    len(seeds),
                    len(set(patients.values())),
                    cohort_metrics(cases, patients),
                )
            )
    return found


@dataclass(frozen=True)
class Paired:
    """One comparison of two arms, with its p value adjusted for all comparisons beside it."""

    question: str
    comparison: Comparison
    p_adjusted: float


def compare(study: StudySettings, rows: Sequence[Row], condition: str) -> list[Paired]:
    """Compare arms that differ from the reference in one factor at a time.

    For every factor but the seed, each arm at the reference's level of that factor is compared with
    the arms that are equal to it but for that factor. P values are adjusted by Holm's method over
    all comparisons of a factor.
    """
    arms = by_arm(rows, condition)
    levels = {arm(row.levels): row.levels for row in rows}
    found: list[Paired] = []
    for factor, base in study.reference.items():
        pairs = [
            (name, other)
            for name in arms
            for other in arms
            if levels[name][factor] != base
            and _differ_only_in(levels[name], levels[other], factor, base)
        ]
        results = [
            paired_comparison(
                per_patient(arms[name], study.metric),
                per_patient(arms[other], study.metric),
                name=f"{name} against {other}",
            )
            for name, other in pairs
        ]
        adjusted = holm([result.p_value for result in results])
        found += [
            Paired(f"{name} against {other}", result, p)
            for (name, other), result, p in zip(pairs, results, adjusted, strict=True)
        ]
    return found


def _differ_only_in(one: dict, other: dict, factor: str, base: object) -> bool:
    same = all(one[key] == other[key] for key in one if key not in (factor, "seed"))
    return same and other[factor] == base
