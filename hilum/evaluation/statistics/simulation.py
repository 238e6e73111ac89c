"""Simulated studies whose truth is known: how often each way of judging a comparison errs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from hilum.core.seeds import numpy_generator

from .bootstrap import weights
from .cohort import dscagg, f1agg
from .mean_squares import MeanSquares, mean_squares, square_of_mean
from .moderation import StudyVariances, study_variances
from .pseudovalues import pseudovalues

Kind = Literal["normal", "collapses", "log-normal patients", "seeds only", "other draws"]
SimulatedMetric = Literal["dice", "dscagg", "f1agg"]

SPREAD = {
    "normal": (0.04, 0.03, 0.05),
    "collapses": (0.04, 0.03, 0.05),
    "log-normal patients": (0.04, 0.03, 0.05),
    "seeds only": (0.0, 0.05, 0.0),
    "other draws": (0.04, 0.03, 0.05),
}
"""Standard deviations of an arm's Dice over patients, over runs, and over both."""

METHODS = ("moderated", "alone", "unbounded", "hierarchical bootstrap", "runs averaged")
"""
- `moderated`: random effects with variances moderated by the study, as reports have it.
- `alone`: the same of one comparison alone, with bounded degrees of freedom.
- `unbounded`: as alone, without the bound.
- `hierarchical bootstrap`: percentiles over resampled patients and runs.
- `runs averaged`: a paired t test over patients after averaging the runs.
"""

BASE = 0.65
RESAMPLES = 400


@dataclass(frozen=True)
class World:
    """Where a study's measurements come from; arm 0 is the reference.

    Attributes:
        kind: `normal`; `collapses` (one run in ten has a third of its Dice, one mask in twenty is
            empty); `log-normal patients` (patients differ in how much arms differ on them);
            `seeds only` (runs differ, patients do not); `other draws` (each arm got one draw of the
            labelled patients, which no run repeats).
        patients: Test patients.
        seeds: Runs of each arm.
        arms: Arms, the reference included.
        metric: `dice`, or a pooled metric through its pseudovalues.
        gain: By how much the Dice (or sensitivity) of the other arms is higher.
    """

    kind: Kind
    patients: int
    seeds: int
    arms: int = 4
    metric: SimulatedMetric = "dice"
    gain: float = 0.0

    def make(self, studies: int, generator: np.random.Generator) -> np.ndarray:
        """Return values `[studies, arms, patients, seeds]`, pseudovalues of a pooled metric."""
        quality = self._quality(studies, generator)
        if self.metric == "dice":
            return quality
        pool = dscagg if self.metric == "dscagg" else f1agg
        sums = self._sums(quality, generator)
        moved = {key: np.moveaxis(table, -2, 0) for key, table in sums.items()}
        return np.moveaxis(pseudovalues(moved, pool), 0, -2)

    def truth(self, runs: int = 300, patients: int = 4000, seed: int = 0) -> float:
        """Return the true difference of the metric: that of one very large study."""
        generator = numpy_generator(seed, "truth")
        big = World(self.kind, patients, runs, 2, self.metric, self.gain)
        values = big.make(1, generator)[0].mean((1, 2))
        return float(values[1] - values[0])

    def _quality(self, studies: int, generator: np.random.Generator) -> np.ndarray:
        """Return Dice, or sensitivity, of each patient in each run of each arm."""
        shape = (studies, self.arms, self.patients, self.seeds)
        of_patients, of_runs, of_both = SPREAD[self.kind]
        ease = generator.normal(BASE, 0.12, (studies, 1, self.patients, 1))
        here = generator.normal(0, of_patients, (*shape[:3], 1))
        both = generator.normal(0, of_both, shape)
        if self.kind == "log-normal patients":
            scale = np.exp(generator.normal(0, 0.8, (studies, 1, self.patients, 1)))
            here, both = here * scale, both * scale
        runs = generator.normal(0, of_runs, (*shape[:2], 1, self.seeds))
        if self.kind == "other draws":
            runs = runs + generator.normal(0, 0.05, (*shape[:2], 1, 1))
        gain = self.gain * (np.arange(self.arms) > 0)[:, None, None]
        quality = ease + here + runs + both + gain
        if self.kind == "collapses":
            quality = quality * np.where(
                generator.random((*shape[:2], 1, self.seeds)) < 0.1, 1 / 3, 1
            )
            quality = quality * (generator.random(shape) > 0.05)
        return quality

    def _sums(self, quality: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Return what a patient adds to DSCagg and F1agg; a few patients hold most of it."""
        quality = np.clip(quality, 0, 1)
        shape = (len(quality), 1, self.patients, 1)
        if self.metric == "dscagg":
            reference = np.exp(generator.normal(2, 1, shape)) + np.zeros(quality.shape)
            volume = reference * np.exp(generator.normal(0, 0.2, quality.shape))
            return {
                "intersection_ml": quality * (volume + reference) / 2,
                "volume_ml": volume,
                "reference_volume_ml": reference,
            }
        lesions = 1 + generator.negative_binomial(1, 0.25, shape) + np.zeros(quality.shape, int)
        found = generator.binomial(lesions, quality)
        return {
            "lesion_tp": found.astype(float),
            "lesion_fn": (lesions - found).astype(float),
            "lesion_fp": generator.poisson(0.2 * lesions).astype(float),
        }


class Judged(NamedTuple):
    """What a method says of every comparison with the reference, `[studies, arms - 1]` each."""

    mean: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the interval."""
        reach = stats.t.ppf(0.5 + level / 2, self.freedom) * self.error
        return self.mean - reach, self.mean + reach


def judge(values: np.ndarray) -> dict[str, Judged]:
    """Judge every comparison of simulated studies by random effects, with the reports' functions.

    Args:
        values: `[studies, arms, patients, seeds]`; arm 0 is the reference.
    """
    table = values[:, 1:] - values[:, :1]
    _, _, patients, seeds = table.shape
    mean, own = table.mean((-2, -1)), mean_squares(table)
    of = (patients - 1.0, seeds - 1.0, (patients - 1.0) * (seeds - 1.0))
    freedom = MeanSquares(*map(np.asarray, of))
    total, known = square_of_mean(own, freedom)
    found = {"alone": Judged(mean, np.sqrt(total / (patients * seeds)), known)}
    extra = np.maximum(own.models - own.both, 0)
    parts = own.patients**2 / of[0]
    parts = parts + np.where(extra > 0, own.models**2 / of[1] + own.both**2 / of[2], 0)
    found["unbounded"] = found["alone"]._replace(freedom=total**2 / np.maximum(parts, 1e-300))
    study = study_variances(values)
    if study is not None and study.arms > 2:
        squares, more = _per_study(study).moderate(own, freedom, 2.0, patients)
        total, known = square_of_mean(squares, more)
        found["moderated"] = Judged(mean, np.sqrt(total / (patients * seeds)), known)
    rows = table.mean(-1)
    error = rows.std(-1, ddof=1) / np.sqrt(patients)
    found["runs averaged"] = Judged(mean, error, np.full(mean.shape, patients - 1.0))
    return found


def _per_study(study: StudyVariances) -> StudyVariances:
    """Return variances `[studies]` so that they meet those of comparisons `[studies, arms - 1]`."""
    models, both = (
        prior._replace(variance=prior.variance[:, None], freedom=prior.freedom[:, None])
        for prior in (study.models, study.both)
    )
    return study._replace(models=models, both=both)


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile intervals of every comparison, over resampled patients and runs."""
    table = values[:, 1:] - values[:, :1]
    rows, columns = weights(table.shape[-2:], n=RESAMPLES, seed=seed)
    size = table.shape[-2] * table.shape[-1]
    means = np.einsum("np,rcps,ns->rcn", rows, table, columns, optimize=True) / size
    low, high = np.percentile(means, [2.5, 97.5], axis=-1)
    return low, high


class Errors(NamedTuple):
    """How a method does; fractions of comparisons, and the median half width of intervals.

    Attributes:
        false_alarms: Differences found between equal arms.
        coverage: Intervals that hold the true difference of unequal arms.
        power: Unequal arms found unequal.
        half_width: Of the interval.
        false_equalities: Arms a margin apart that are called equivalent; NaN without that test.
        equalities: Equal arms that are called equivalent within that margin.
    """

    false_alarms: float
    coverage: float
    power: float
    half_width: float
    false_equalities: float = float("nan")
    equalities: float = float("nan")


def errors(
    world: World, studies: int = 1000, *, apart: float = 0.15, seed: int = 0
) -> dict[str, Errors]:
    """Return how each method does in a world.

    Args:
        world: With a gain above 0, which is taken away for what concerns equal arms.
        studies: Simulated studies of each kind; each has a comparison per arm but the reference.
        apart: Gain of the arms that are a margin apart; the margin is their true difference.
        seed: Seed.
    """
    generator = numpy_generator(seed, "simulation", str(world))
    worlds = [replace(world, gain=gain) for gain in (0.0, world.gain, apart)]
    equal, unequal, far = (one.make(studies, generator) for one in worlds)
    truth, margin = (one.truth() for one in worlds[1:])
    found = {}
    for name, none, some, beyond in _together(judge(equal), judge(unequal), judge(far)):
        low, high = some.interval()
        found[name] = Errors(
            _outside(none.interval(), 0.0),
            1 - _outside((low, high), truth),
            _outside((low, high), 0.0),
            float(np.median(high - low) / 2),
            _inside(beyond.interval(0.9), margin),
            _inside(none.interval(0.9), margin),
        )
    (low, high), ends = bootstrap_interval(unequal), bootstrap_interval(equal)
    found["hierarchical bootstrap"] = Errors(
        _outside(ends, 0.0),
        1 - _outside((low, high), truth),
        _outside((low, high), 0.0),
        float(np.median(high - low) / 2),
    )
    return {name: found[name] for name in METHODS if name in found}


def _together(*judged: dict[str, Judged]) -> list[tuple[str, Judged, Judged, Judged]]:
    first, second, third = judged
    return [(name, first[name], second[name], third[name]) for name in first]


def _outside(ends: tuple[np.ndarray, np.ndarray], value: float) -> float:
    return float(((ends[0] > value) | (ends[1] < value)).mean())


def _inside(ends: tuple[np.ndarray, np.ndarray], margin: float) -> float:
    return float(((ends[0] > -margin) & (ends[1] < margin)).mean())
