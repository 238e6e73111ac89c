"""From cases to a cohort: means and pooled metrics, with intervals over patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..core.seeds import numpy_generator
from .metrics_table import METRICS, SIZE_BANDS

BOOTSTRAPS = 2000
Sums = dict[str, float]

_SUMS = (
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
    *,
    n_bootstrap: int = BOOTSTRAPS,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return value, 95 % interval and number of patients of every metric.

    Means are over patients, each the mean of its cases (and seeds). DSCagg, F1agg and sensitivity
    by size pool the sums of all cases. Intervals are percentiles of a bootstrap that draws whole
    patients. Undefined values (NaN) are left out, and `n` says how many patients are in.

    Args:
        cases: Metrics of each case, from `case_metrics`.
        patients: Patient of each case; without it each case is a patient.
        n_bootstrap: Resamples.
        seed: Seed of the resampling.
    """
    groups: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for name, metrics in cases.items():
        groups[patients[name] if patients else name].append(metrics)
    names = sorted(groups)
    if not names:
        return {}
    draws = numpy_generator(seed, "cohort").integers(0, len(names), (n_bootstrap, len(names)))
    found: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        if METRICS[metric].pooled or metric.startswith("sensitivity_"):
            continue
        values = np.array([_mean([c.get(metric, math.nan) for c in groups[n]]) for n in names])
        if np.isfinite(values).any():
            found[metric] = _with_interval(values, draws)
    sums = {
        key: np.array([sum(c.get(key, 0.0) for c in groups[n]) for n in names]) for key in _SUMS
    }
    for metric, pool in _POOLED.items():
        if metric == "f1agg_50" and not all("lesion_tp_50" in case for case in cases.values()):
            continue  # Measured before this count was kept: a zero would be wrong.
        found[metric] = _pooled(sums, pool, draws)
    return found


def _pooled(
    sums: Mapping[str, np.ndarray],
    pool: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    draws: np.ndarray,
) -> dict[str, float]:
    value = float(pool({key: row.sum()[None] for key, row in sums.items()})[0])
    resampled = pool({key: row[draws].sum(1) for key, row in sums.items()})
    return _row(value, resampled, draws.shape[1])


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


def _sensitivity(band: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    return lambda sums: _ratio(sums[f"found_{band}"], sums[f"lesions_{band}"])


_POOLED: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {
    "dscagg": dscagg,
    "f1agg": f1agg,
    "f1agg_50": f1agg_50,
    **{f"sensitivity_{band}": _sensitivity(band) for band in SIZE_BANDS},
}


def _with_interval(values: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    with np.errstate(invalid="ignore"):
        picked = values[draws]
        count = np.isfinite(picked).sum(1)
        means = np.where(count > 0, np.nansum(picked, 1) / np.maximum(count, 1), np.nan)
    return _row(float(np.nanmean(values)), means, int(np.isfinite(values).sum()))


def _row(value: float, resampled: np.ndarray, n: int) -> dict[str, float]:
    good = resampled[np.isfinite(resampled)]
    low, high = np.percentile(good, [2.5, 97.5]) if good.size and n > 1 else (math.nan, math.nan)
    return {"value": value, "ci_low": float(low), "ci_high": float(high), "n": n}


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1e-12), np.nan)


def _mean(values: Sequence[float]) -> float:
    good = [value for value in values if value == value]
    return sum(good) / len(good) if good else math.nan
