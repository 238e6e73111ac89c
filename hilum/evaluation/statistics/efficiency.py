"""Label efficiency: how many labelled patients one arm needs to reach what another one reaches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from .bootstrap import weighted_means, weights, weights_of_all


@dataclass(frozen=True)
class LabelsNeeded:
    """Labelled patients that an arm needs to equal another arm.

    Attributes:
        target: Mean of the other arm at its number of labels.
        needed: Labelled patients; infinity if the arm never reaches it in the range measured, and
            the least number measured if it is there from the start.
        low: Lower end of the 95 % interval.
        high: Upper end; infinity if the target is out of reach in more than 2.5 % of the samples.
        reached: Share of the bootstrap samples that reach the target.
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
    straight lines over the logarithm of their number. Patients and runs are resampled, the same
    ones in both arms.

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
    low, high = (float(x) for x in np.quantile(samples, [0.025, 0.975], method="inverted_cdf"))
    needed = _cross(numbers, full[:-1], full[-1])
    return LabelsNeeded(float(full[-1]), needed, low, high, float(np.isfinite(samples).mean()))


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
    start, end = math.log(numbers[i - 1]), math.log(numbers[i])
    return math.exp(start + share * (end - start))
