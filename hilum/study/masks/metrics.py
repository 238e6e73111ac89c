"""What two folders of masks say against each other: every metric of a class, paired by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hilum.core.counts import many
from hilum.evaluation.metrics.table import metric_of
from hilum.evaluation.statistics.bounds import bounds, reach
from hilum.evaluation.statistics.cohort import POOLS, SUMS, cohort_metrics
from hilum.evaluation.statistics.comparison import (
    LEAST_PATIENTS,
    Comparison,
    holm,
    paired_comparison,
)
from hilum.evaluation.statistics.equivalence import (
    LEVEL,
    Equivalence,
    equivalence,
    without_difference,
)
from hilum.evaluation.statistics.pseudovalues import pseudovalues
from hilum.segmenter.assessment.views import Target

Cases = dict[str, dict[str, float]]
"""Metrics of each case, from `case_metrics`."""

NSD = "nsd_2mm"
COMPARED = (
    "dice",
    "dscagg",
    "f1agg",
    "lesion_sensitivity",
    "lesion_precision",
    NSD,
    "hd95_mm",
    "fpv_ml",
    "fnv_ml",
)


@dataclass(frozen=True)
class Compared:
    """One metric of one class in both folders.

    Attributes:
        label: Class of the mask, or name of a region.
        metric: Name of the metric.
        a: Value, interval and number of patients of the first folder, as in `cohort_metrics`.
        b: The same of the second.
        comparison: First minus second.
        p_adjusted: P value after Holm's method, over the metrics of a class.
        equal: Equivalence within the margin; of metrics between 0 and 1 only.
    """

    label: Target
    metric: str
    a: Mapping[str, float]
    b: Mapping[str, float]
    comparison: Comparison
    p_adjusted: float
    equal: Equivalence | None

    @property
    def title(self) -> str:
        """Title of the metric."""
        return metric_of(self.metric).title

    def verdict(self, names: tuple[str, str]) -> str:
        """Say what the comparison supports, of these two sets of masks."""
        c = self.comparison
        if not c.n_patients:
            return "undefined"
        if c.n_patients < LEAST_PATIENTS:
            return f"not supported: {many(c.n_patients, 'patient')}"
        if self.p_adjusted < LEVEL:
            better = metric_of(self.metric).better
            first = (c.difference > 0) == (better != "lower")
            return f"{names[0] if first else names[1]} better"
        return without_difference(c.p_value, self.equal)


def compared(
    label: Target,
    a: Cases,
    b: Cases,
    patients: Mapping[str, str],
    metrics: Sequence[str],
    margin: float,
) -> list[Compared]:
    """Compare two tools on every metric of a class.

    Args:
        label: The class.
        a: Metrics of each case of the first tool.
        b: The same of the second.
        patients: Patient of each case.
        metrics: Which are compared, as far as both have them.
        margin: Largest difference of a metric between 0 and 1 that does not matter.
    """
    cohorts = [cohort_metrics(cases, patients) for cases in (a, b)]
    known = [m for m in metrics if all(m in cohort for cohort in cohorts)]
    results = [
        paired_comparison(
            _values(a, patients, metric), _values(b, patients, metric), reach=reach(metric)
        )
        for metric in known
    ]
    defined = [number for number, result in enumerate(results) if result.n_patients]
    family = holm([results[number].p_value for number in defined])
    adjusted = dict(zip(defined, family, strict=True))
    return [
        Compared(
            label,
            metric,
            cohorts[0][metric],
            cohorts[1][metric],
            result,
            adjusted.get(number, 1.0),
            equivalence(result.table, margin)
            if result.n_patients > 1 and bounds(metric) == (0, 1)
            else None,
        )
        for number, (metric, result) in enumerate(zip(known, results, strict=True))
    ]


def _values(cases: Cases, patients: Mapping[str, str], metric: str) -> dict[str, dict[int, float]]:
    """Return a value of each patient: the mean of its cases, or a pseudovalue."""
    own: dict[str, list[dict[str, float]]] = {}
    for name, numbers in cases.items():
        own.setdefault(patients[name], []).append(numbers)
    if metric in POOLS:
        if len(own) < 2:
            return {}
        sums = {
            key: np.array([[sum(c.get(key, 0.0) for c in group)] for group in own.values()])
            for key in SUMS
        }
        table = pseudovalues(sums, POOLS[metric])[:, 0]
        return {
            patient: {0: float(value)}
            for patient, value in zip(own, table, strict=True)
            if value == value
        }
    found = {}
    for patient, group in own.items():
        known = [c[metric] for c in group if metric in c and c[metric] == c[metric]]
        if known:
            found[patient] = {0: sum(known) / len(known)}
    return found
