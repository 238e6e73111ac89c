"""FROC and average precision of a cohort, with intervals for other patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..metrics.average_precision import average_precision
from ..metrics.froc import OPERATING_POINTS, froc
from ..metrics.scores import CaseScores
from .intervals import interval
from .pseudovalues import jackknife

Numbers = dict[str, float]


def detection_intervals(
    cases: Mapping[str, CaseScores], patients: Mapping[str, str] | None = None
) -> dict[str, Numbers]:
    """Return sensitivity at each number of false positives, their mean, and average precision.

    Each has `value`, `ci_low`, `ci_high` and `n`, the patients. Whole patients are left out in turn
    (jackknife), since nodes of one patient are no independent observations; the interval is a t
    interval on the scale of logits. Cases of which nothing is known count nowhere.

    Args:
        cases: Candidates and lesions of each case.
        patients: Patient of each case; without it each case is a patient.

    Returns:
        By name: `sensitivity_at_0.5`, ..., `mean_sensitivity`, `average_precision`.
    """
    names: dict[str, list[str]] = {}
    for case in (name for name, own in cases.items() if own.known):
        names.setdefault(patients[case] if patients else case, []).append(case)
    groups = [[cases[case] for case in own] for own in names.values()]

    def measure(chosen: Sequence[int]) -> np.ndarray:
        own = [case for number in chosen for case in groups[number]]
        candidates = [candidate for case in own for candidate in case.candidates]
        lesions = sum(case.lesions for case in own)
        if not lesions or not chosen:
            return np.full(len(OPERATING_POINTS) + 2, math.nan)
        curve = froc(candidates, lesions, len(chosen))
        at = [curve.at(point) for point in OPERATING_POINTS]
        return np.array([*at, curve.mean(), average_precision(candidates, lesions)])

    whole = measure(range(len(groups)))
    table = jackknife(measure, len(groups))
    titles = [f"sensitivity_at_{point:g}" for point in OPERATING_POINTS]
    found = {}
    for number, title in enumerate([*titles, "mean_sensitivity", "average_precision"]):
        value = float(whole[number])
        low, high = interval(value, table[:, [number]], (0.0, 1.0))
        found[title] = {"value": value, "ci_low": low, "ci_high": high, "n": len(groups)}
    return found
