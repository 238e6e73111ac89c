"""Simulated cohorts whose truth is known: how often intervals of few patients hold it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from hilum.core.seeds import numpy_generator

from .efficiency import labels_needed
from .intervals import logit_interval

CohortKind = Literal["normal Dice", "skewed Dice", "Dice with zeros", "DSCagg", "F1agg"]
WAYS = ("percentile", "BCa", "t", "logit t")
RESAMPLES = 1000


def simulate(
    kind: CohortKind, patients: int, cohorts: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return numerators and denominators `[cohorts, patients]` whose sums' ratio is the metric."""
    shape = (cohorts, patients)
    if kind == "DSCagg":
        reference = np.exp(generator.normal(2, 1, shape))
        volume = reference * np.exp(generator.normal(0, 0.2, shape))
        dice = 1 / (1 + np.exp(-generator.normal(1.2, 0.8, shape)))
        sums = {"volume_ml": volume, "reference_volume_ml": reference}
        sums["intersection_ml"] = dice * (volume + reference) / 2
        return 2 * sums["intersection_ml"], volume + reference
    if kind == "F1agg":
        lesions = 1 + generator.negative_binomial(1, 0.25, shape)
        found = generator.binomial(lesions, generator.beta(6, 2, shape))
        false = generator.poisson(0.15 * lesions)
        return 2.0 * found, found + lesions + false.astype(float)
    if kind == "normal Dice":
        return generator.normal(0.6, 0.12, shape), np.ones(shape)
    if kind == "skewed Dice":
        return generator.beta(6, 2, shape), np.ones(shape)
    missed = generator.random(shape) < 0.12
    return generator.beta(8, 2, shape) * ~missed, np.ones(shape)


def coverage(
    kind: CohortKind, patients: int, cohorts: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return for each way the fraction of intervals with the truth, and their median width.

    Args:
        kind: What is measured.
        patients: Of a cohort, two at least.
        cohorts: How many are simulated.
        seed: Seed.
    """
    generator = numpy_generator(seed, "cohorts", kind, patients)
    large = simulate(kind, 10, 200_000, generator)
    truth = float(large[0].sum() / large[1].sum())
    top, bottom = simulate(kind, patients, cohorts, generator)
    found = {}
    for way, (low, high) in _intervals(top, bottom, generator).items():
        holds = (low <= truth) & (truth <= high)
        found[way] = (float(holds.mean()), float(np.nanmedian(high - low)))
    return found


def _intervals(
    top: np.ndarray, bottom: np.ndarray, generator: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    patients = top.shape[1]
    value = top.sum(1) / bottom.sum(1)
    picks = generator.multinomial(patients, np.full(patients, 1 / patients), RESAMPLES)
    samples = np.sort((top @ picks.T) / (bottom @ picks.T), axis=1)
    without = (top.sum(1, keepdims=True) - top) / (bottom.sum(1, keepdims=True) - bottom)
    values = value[:, None] + (patients - 1) * (without.mean(1, keepdims=True) - without)
    error = values.std(1, ddof=1) / np.sqrt(patients)
    reach = stats.t.ppf(0.975, patients - 1) * error
    low, high = np.percentile(samples, [2.5, 97.5], axis=1)
    return {
        "percentile": (low, high),
        "BCa": bca(samples, value, without),
        "t": (value - reach, value + reach),
        "logit t": logit_interval(value, reach, (0.0, 1.0)),
    }


def bca(
    samples: np.ndarray, value: np.ndarray, without: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return bias-corrected and accelerated intervals, to compare with.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3.

    Args:
        samples: `[cohorts, resamples]`, sorted.
        value: Of each cohort.
        without: `[cohorts, patients]`, the value without each patient.
        level: Of the interval.
    """
    count = samples.shape[1]
    below = (samples < value[:, None]).mean(1) + (samples == value[:, None]).mean(1) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / count, 1 - 1 / count))
    pull = without.mean(1, keepdims=True) - without
    scale = 6 * np.maximum((pull**2).sum(1), 1e-100) ** 1.5
    acceleration = np.nan_to_num((pull**3).sum(1) / scale)
    ends = []
    for share in (0.5 - level / 2, 0.5 + level / 2):
        z = bias + stats.norm.ppf(share)
        place = stats.norm.cdf(bias + z / (1 - acceleration * z))
        number = np.clip((place * count).astype(int), 0, count - 1)
        ends.append(np.take_along_axis(samples, number[:, None], 1)[:, 0])
    return ends[0], ends[1]


def labels_coverage(patients: int, seeds: int, studies: int = 300, seed: int = 0) -> float:
    """Return how often the interval of `labels_needed` holds the number that is true.

    An arm rises by 0.1 of Dice from 1 to 2 to 4 to 8 labels; another arm reaches what it does with
    four labelled patients.
    """
    generator = numpy_generator(seed, "labels", patients, seeds)
    held = 0
    for _ in range(studies):
        ease = generator.normal(0, 0.12, (patients, 1))

        def arm(mean: float, ease: np.ndarray = ease) -> np.ndarray:
            here = generator.normal(0, 0.04, (patients, 1))
            runs = generator.normal(0, 0.03, (1, seeds))
            return mean + ease + here + runs + generator.normal(0, 0.05, (patients, seeds))

        curve = {n: arm(0.4 + 0.1 * step) for step, n in enumerate((1, 2, 4, 8))}
        found = labels_needed(curve, arm(0.6), n=10)
        held += found.low <= 4 <= found.high
    return held / studies
