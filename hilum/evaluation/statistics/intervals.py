"""The interval of a cohort's number, which also holds with few patients."""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

from .random_effects import estimate
from .runs import row_means


def interval(
    value: float, table: np.ndarray, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean over patients (and models), for other patients and models.

    The standard error is that of two-way random effects, or of a t test with one model. A value
    between two bounds, such as a Dice, has its interval on the scale of logits: it stays inside
    them and is longer towards the middle. The percentile bootstrap, which is usual, holds the
    truth 63 to 84 times of 100 with three to five patients, and BCa no more often; this one 88 to
    96 times (`benchmarks/study_statistics.py`).

    Source:
        Delta method on the logit scale: Agresti, Categorical Data Analysis, section 3.1.

    Args:
        value: The mean, or a pooled metric.
        table: `[patients, models]`, whose mean is the value: of each patient, or pseudovalues; NaN
            where there is none.
        bounds: Smallest and largest value that is possible.
        level: Of the interval.

    Returns:
        Lower and upper end; NaN with one patient, and where every patient has the same bound (all
        Dice 1, say), which says nothing of how patients vary.
    """
    found = estimate(table)
    known = int(np.isfinite(row_means(table)).sum())
    if known < 2 or not math.isfinite(found.error):
        return math.nan, math.nan
    used = int(np.isfinite(table).all(1).sum())
    # Patients without a value for some model count in the mean, but not in the error.
    error = found.error * (math.sqrt(used / known) if used > 1 else 1.0)
    reach = float(stats.t.ppf(0.5 + level / 2, found.freedom)) * error
    if error == 0 and value in bounds:
        return math.nan, math.nan
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < value < high):
        return max(value - reach, low), min(value + reach, high)
    first, last = logit_interval(np.array(value), np.array(reach), bounds)
    return float(first), float(last)


def few_interval(value: float, patients: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a fraction of which the data show no spread: few nodes, all found.

    Nodes of one patient are no independent observations, so a patient counts as one, found or
    missed, and the interval is the exact one: of three patients whose nodes were all found, 0.29
    to 1. A fraction between the bounds of one patient may be anything.

    Source:
        Clopper and Pearson, Biometrika 1934, 26:404.

    Args:
        value: 0 to 1.
        patients: Who have such nodes.
        level: Of the interval.

    Examples:
        >>> [round(end, 2) for end in few_interval(1.0, 3)]
        [0.29, 1.0]
        >>> few_interval(0.5, 1)
        (0.0, 1.0)
    """
    if patients < 1 or not 0 <= value <= 1:
        return math.nan, math.nan
    far = ((1 - level) / 2) ** (1 / patients)
    if value == 1:
        return far, 1.0
    return 0.0, 1 - far if value == 0 else 1.0


def logit_interval(
    value: np.ndarray, reach: np.ndarray, bounds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return values with a reach on either side, laid off on the scale of logits.

    Args:
        value: Inside the bounds; at a bound there is no interval (NaN).
        reach: Half width of the interval on the scale of the values.
        bounds: Finite.
    """
    low, high = bounds
    share = (value - low) / (high - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, slope = special.logit(share), 1 / ((high - low) * share * (1 - share))
        first, last = (special.expit(centre + sign * slope * reach) for sign in (-1, 1))
    return np.asarray(low + (high - low) * first), np.asarray(low + (high - low) * last)
