"""From cases to a cohort: means and pooled metrics, with intervals over patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from hilum.core.seeds import numpy_generator

from ..metrics.table import METRICS, SIZE_BANDS
from .bootstrap import Pool, weighted_means, weights
from .runs import Run, draw_of, row_means

BOOTSTRAPS = 2000

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
    *,
    n_bootstrap: int = BOOTSTRAPS,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return value, 95 % interval and number of patients of every metric.

    Means are over patients, each the mean of its cases (and runs). DSCagg, F1agg and sensitivity
    by size pool the sums of all cases. Intervals are percentiles of a bootstrap that draws whole
    patients; with `runs` also the trained models anew, draws of labelled patients before seeds.
    Undefined values (NaN) are left out, and `n` says how many patients are in.

    Args:
        cases: Metrics of each case, from `case_metrics`.
        patients: Patient of each case; without it each case is a patient.
        runs: Run that each case was measured in; without it one model measured all.
        n_bootstrap: Resamples.
        seed: Seed of the resampling.
    """
    groups: dict[str, dict[Run, list[Mapping[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for name, metrics in cases.items():
        patient = patients[name] if patients else name
        groups[patient][runs[name] if runs else 0].append(metrics)
    names = sorted(groups)
    if not names:
        return {}
    columns = list(dict.fromkeys(run for own in groups.values() for run in own))
    cells = [[groups[name].get(run, []) for run in columns] for name in names]
    resampling = _weights(len(names), columns, n_bootstrap, seed)
    found: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        if METRICS[metric].pooled or metric.startswith("sensitivity_"):
            continue
        table = np.array(
            [[_mean([c.get(metric, math.nan) for c in own]) for own in row] for row in cells]
        )
        values = row_means(table)
        if np.isfinite(values).any():
            samples = weighted_means(table[None], *resampling)[:, 0]
            known = np.isfinite(values)
            found[metric] = _row(float(values[known].mean()), samples, int(known.sum()))
    sums = {
        key: np.array([[sum(c.get(key, 0.0) for c in own) for own in row] for row in cells])
        for key in SUMS
    }
    for metric, pool in POOLS.items():
        if metric == "f1agg_50" and not all("lesion_tp_50" in case for case in cases.values()):
            continue  # Measured before this count was kept: a zero would be wrong.
        found[metric] = _pooled(sums, pool, resampling)
    return found


def _weights(
    patients: int, runs: Sequence[Run], n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each patient and each run is in each sample."""
    picks = numpy_generator(seed, "cohort").integers(0, patients, (n, patients))
    rows = np.zeros((n, patients))
    np.add.at(rows, (np.arange(n)[:, None], picks), 1)
    draws = [draw_of(run) for run in runs]
    return rows, weights((1, len(runs)), draws=draws, n=n, seed=seed)[1]


def _pooled(
    sums: Mapping[str, np.ndarray], pool: Pool, resampling: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    rows, columns = resampling
    value = float(pool({key: table.sum()[None] for key, table in sums.items()})[0])
    samples = pool({key: ((rows @ table) * columns).sum(1) for key, table in sums.items()})
    return _row(value, samples, rows.shape[1])


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


def _row(value: float, resampled: np.ndarray, n: int) -> dict[str, float]:
    good = resampled[np.isfinite(resampled)]
    low, high = np.percentile(good, [2.5, 97.5]) if good.size and n > 1 else (math.nan, math.nan)
    return {"value": value, "ci_low": float(low), "ci_high": float(high), "n": n}


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1e-12), np.nan)


def _mean(values: Sequence[float]) -> float:
    good = [value for value in values if value == value]
    return sum(good) / len(good) if good else math.nan
