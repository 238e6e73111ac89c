"""From cases to a cohort: means and pooled metrics, with intervals over patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ..metrics.table import METRICS, SIZE_BANDS, nsd_metrics, nsd_tolerances
from .bootstrap import Pool
from .bounds import bounds
from .intervals import few_interval, interval
from .pseudovalues import pseudovalues
from .runs import Run, draw_of, models, row_means

SUMS = (
    "intersection_ml",
    "volume_ml",
    "reference_volume_ml",
    "lesion_tp",
    "lesion_tp_50",
    "lesion_fp",
    "lesion_fn",
    *(f"{part}_{band}" for band in SIZE_BANDS for part in ("found", "lesions")),
)


def cohort_metrics(
    cases: Mapping[str, Mapping[str, float]],
    patients: Mapping[str, str] | None = None,
    runs: Mapping[str, Run] | None = None,
) -> dict[str, dict[str, float]]:
    """Return value, 95 % interval and number of patients of every metric.

    Means are over patients, each the mean of its cases. DSCagg, F1agg and sensitivity by size pool
    the sums of all cases of a run. With several runs, a number is the mean over runs of what each
    run reaches, draws of the labelled patients before seeds, as in a comparison of two arms: runs
    are not thrown into one pot, where one that predicts a large volume would count for more.
    Intervals are those of `intervals.interval`, over patients and runs. Undefined values (NaN) are
    left out, and `n` says how many patients are in.

    Args:
        cases: Metrics of each case, from `case_metrics`.
        patients: Patient of each case; without it each case is a patient.
        runs: Run that each case was measured in; without it one model measured all.
    """
    groups: dict[str, dict[Run, list[Mapping[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for name, metrics in cases.items():
        patient = patients[name] if patients else name
        groups[patient][runs[name] if runs else 0].append(metrics)
    names = sorted(groups)
    if not names:
        return {}
    columns = list(dict.fromkeys(run for own in groups.values() for run in own))
    draws = [draw_of(run) for run in columns]
    cells = [[groups[name].get(run, []) for run in columns] for name in names]
    found: dict[str, dict[str, float]] = {}
    named = {name for metrics in cases.values() for name in metrics}
    more = {n: m for t in nsd_tolerances(named) for n, m in nsd_metrics(t).items()}
    for metric, about in (dict(METRICS.working()) | more).items():
        if about.pooled or metric.startswith("sensitivity_"):
            continue
        table = np.array(
            [[_mean([c.get(metric, math.nan) for c in own]) for own in row] for row in cells]
        )
        table = models(table, draws)
        values = row_means(table)
        known = np.isfinite(values)
        if known.any():
            found[metric] = _row(metric, float(values[known].mean()), table, int(known.sum()))
    sums = {
        key: np.array([[sum(c.get(key, 0.0) for c in own) for own in row] for row in cells])
        for key in SUMS
    }
    tested = np.array([[bool(own) for own in row] for row in cells])
    for metric, pool in POOLS.items():
        if metric == "f1agg_50" and not all("lesion_tp_50" in case for case in cases.values()):
            continue  # Measured before this count was kept: a zero would be wrong.
        found[metric] = _pooled(metric, sums, pool, tested, draws)
    return found


def _pooled(
    metric: str,
    sums: Mapping[str, np.ndarray],
    pool: Pool,
    tested: np.ndarray,
    draws: Sequence[Hashable],
) -> dict[str, float]:
    """Return a pooled metric on the patients that every run tested, as comparisons do.

    Where there is no such patient, each run has the patients that it tested, and no interval.
    Patients that add nothing (no lesion of that size) count neither in `n` nor in the degrees of
    freedom; sensitivities also say how many lesions there are, `lesions`.
    """
    whole = tested.all(1)
    more = _lesions(metric, sums, tested)
    if not whole.any():
        each = pool({key: table.sum(0, keepdims=True) for key, table in sums.items()})
        value = float(row_means(models(each, draws))[0])
        return {"value": value, "ci_low": math.nan, "ci_high": math.nan, "n": len(tested), **more}
    whole &= np.isfinite(pool(sums)).any(1)
    own = {key: table[whole] for key, table in sums.items()}
    each = pool({key: table.sum(0, keepdims=True) for key, table in own.items()})
    value = float(row_means(models(each, draws))[0])
    table = models(pseudovalues(own, pool), draws) if whole.sum() > 1 else np.zeros((0, 1))
    return _row(metric, value, table, int(whole.sum())) | more


def _lesions(metric: str, sums: Mapping[str, np.ndarray], tested: np.ndarray) -> dict[str, float]:
    """Return how many lesions a sensitivity is of: those of the reference, once for all runs."""
    counts = sums.get(f"lesions_{metric.removeprefix('sensitivity_')}")
    if counts is None:
        return {}
    return {"lesions": float((counts.sum(1) / np.maximum(tested.sum(1), 1)).sum())}


def dscagg(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return aggregated Dice from sums over cases."""
    return _ratio(2 * sums["intersection_ml"], sums["volume_ml"] + sums["reference_volume_ml"])


def f1agg(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return aggregated detection F1 from sums over cases."""
    hit = 2 * sums["lesion_tp"]
    return _ratio(hit, hit + sums["lesion_fp"] + sums["lesion_fn"])


def f1agg_50(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return aggregated detection F1 at an IoU above 0.5 from sums over cases."""
    lesions = 2 * sums["lesion_tp"] + sums["lesion_fp"] + sums["lesion_fn"]
    return _ratio(2 * sums["lesion_tp_50"], lesions)


def _sensitivity(band: str) -> Pool:
    return lambda sums: _ratio(sums[f"found_{band}"], sums[f"lesions_{band}"])


POOLS: dict[str, Pool] = {
    "dscagg": dscagg,
    "f1agg": f1agg,
    "f1agg_50": f1agg_50,
    **{f"sensitivity_{band}": _sensitivity(band) for band in SIZE_BANDS},
}
"""Metrics that pool the sums over cases, by name."""


def _row(metric: str, value: float, table: np.ndarray, n: int) -> dict[str, float]:
    low, high = interval(value, table, bounds(metric))
    if metric.startswith("sensitivity_") and not (low <= high):
        # Few nodes, all found or none: no interval at all would look like certainty.
        low, high = few_interval(value, n)
    return {"value": value, "ci_low": low, "ci_high": high, "n": n}


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1e-12), np.nan)


def _mean(values: Sequence[float]) -> float:
    good = [value for value in values if value == value]
    return sum(good) / len(good) if good else math.nan
