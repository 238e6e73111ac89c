"""Label efficiency: how many labelled patients one arm needs to reach what another one reaches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from .bootstrap import weighted_means, weights, weights_of_all
from .moderation import study_variances
from .random_effects import estimate
from .runs import models

STEPS = 40
"""Numbers of labels that are tried between two that were measured."""

TINY = 1e-12


@dataclass(frozen=True)
class LabelsNeeded:
    """Labelled patients that an arm needs to equal another arm.

    Attributes:
        target: Mean of the other arm at its number of labels.
        needed: Labelled patients; infinity if the arm never reaches it in the range measured, and
            the smallest number measured if it is there from the start.
        low: Lower end of the 95 % interval: fewer labels are significantly worse.
        high: Upper end: more labels are significantly better; infinity if no number tried is.
        reached: Fraction of the bootstrap samples that reach the target.
    """

    target: float
    needed: float
    low: float
    high: float
    reached: float


def labels_needed(
    arm: Mapping[int, np.ndarray],
    other: np.ndarray,
    *,
    draws: Sequence[Hashable] | None = None,
    n: int = 1000,
    seed: int = 0,
) -> LabelsNeeded:
    """Return how many labelled patients `arm` needs to reach the mean of `other`.

    The means of the arm are made to rise with the labels (isotonic regression) and joined by
    straight lines over the logarithm of their number (of one more if none, 0, is among them). The
    interval holds every number of labels at which the arm does not differ significantly from the
    other one, patient by patient and run by run, by the random effects of a study's comparisons:
    with few patients and runs percentiles of a bootstrap are far too narrow for it
    (`benchmarks/study_statistics.py`).

    Source:
        Interval by inversion of a test, as Fieller's: Fieller, J R Stat Soc B 1954, 16:175.

    Args:
        arm: `[patients, runs]` for each number of labelled patients; higher is better.
        other: `[patients, runs]` of the arm to reach; the same patients and runs.
        draws: Draw of labelled patients of each run; see `bootstrap.weights`.
        n: Bootstrap samples.
        seed: Seed.

    Raises:
        ValueError: If there are fewer than two numbers of labels.
    """
    if len(arm) < 2:
        raise ValueError("a curve has two numbers of labels at least")
    numbers = sorted(arm)
    cube = np.stack([*(arm[number] for number in numbers), other])
    _, patients, runs = cube.shape
    full = weighted_means(cube, np.ones((1, patients)), weights_of_all(draws, runs))[0]
    means = weighted_means(cube, *weights((patients, runs), draws=draws, n=n, seed=seed))
    means = means[np.isfinite(means).all(1)]
    if not np.isfinite(full).all() or not len(means):
        return LabelsNeeded(float(full[-1]), math.nan, math.nan, math.nan, math.nan)
    samples = np.array([_cross(numbers, mean[:-1], mean[-1]) for mean in means])
    needed = _cross(numbers, full[:-1], full[-1])
    owners = list(range(runs)) if draws is None else list(draws)
    low, high = _not_different(numbers, np.stack([models(table, owners) for table in cube]))
    low, high = min(low, needed), max(high, needed)
    return LabelsNeeded(float(full[-1]), needed, low, high, float(np.isfinite(samples).mean()))


def _not_different(numbers: list[int], cube: np.ndarray) -> tuple[float, float]:
    """Return the ends of the labels at which the arm does not differ from the last one.

    Args:
        numbers: Labels of each table but the last.
        cube: `[tables, patients, models]`.
    """
    study = study_variances(cube)
    if cube.shape[1] < 2:
        return math.nan, math.nan
    low, high = math.inf, float(numbers[0])
    for i in range(len(numbers) - 1):
        for share in np.linspace(0, 1, STEPS + 1):
            table = (1 - share) * cube[i] + share * cube[i + 1] - cube[-1]
            found = estimate(table, study, float((1 - share) ** 2 + share**2 + 1))
            place = _between(numbers, i, float(share))
            if found.high >= -TINY:
                low = min(low, place)
            if found.low <= TINY:
                high = place
    last = estimate(cube[-2] - cube[-1], study)
    return low, high if last.low > TINY else math.inf


def _cross(numbers: list[int], means: np.ndarray, target: float) -> float:
    """Return where the rising curve meets the target."""
    curve = np.asarray(isotonic_regression(means).x)
    if target <= curve[0]:
        return float(numbers[0])
    above = np.flatnonzero(curve >= target)
    if not len(above):
        return math.inf
    i = int(above[0])
    share = (target - curve[i - 1]) / (curve[i] - curve[i - 1])
    return _between(numbers, i - 1, float(share))


def _between(numbers: list[int], i: int, share: float) -> float:
    """Return the number a share of the way to the next one, over the logarithm.

    With none (0) among the numbers, over the logarithm of one more.
    """
    more = 0 if numbers[0] > 0 else 1
    start, end = math.log(numbers[i] + more), math.log(numbers[i + 1] + more)
    return math.exp(start + share * (end - start)) - more
