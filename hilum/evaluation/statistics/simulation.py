"""Made studies without a difference: how often does a method find one, and its interval miss it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.core.seeds import numpy_generator

from .bootstrap import cluster_interval, hierarchical_interval
from .cohort import dscagg
from .comparison import sign_flip
from .equivalence import equivalence
from .pseudovalues import pseudovalues
from .random_effects import estimate
from .runs import models, row_means

METHODS = ("random effects", "hierarchical bootstrap", "sign flip, runs averaged")
POOLED = ("random effects of pseudovalues", "cluster bootstrap of patients and runs")


@dataclass(frozen=True)
class World:
    """Where differences of two arms come from; a standard deviation each.

    Attributes:
        patients: Test patients.
        seeds: Runs of each arm, per draw of the labelled patients.
        patient: How much the true difference varies over patients.
        seed: How much it varies over runs, on all patients alike.
        both: How much it varies over single patients in single runs.
        mean: True mean difference.
        draws: Draws of the labelled patients.
        draw: How much the true difference varies over draws.
    """

    patients: int
    seeds: int
    patient: float
    seed: float
    both: float
    mean: float = 0.0
    draws: int = 1
    draw: float = 0.0

    @property
    def owners(self) -> list[int]:
        """Draw of each run."""
        return [draw for draw in range(self.draws) for _ in range(self.seeds)]

    def make(self, generator: np.random.Generator) -> np.ndarray:
        """Return differences `[patients, runs]`."""
        runs = self.draws * self.seeds
        of_draws = generator.normal(0, self.draw, self.draws)[self.owners]
        return (
            self.mean
            + generator.normal(0, self.patient, (self.patients, 1))
            + of_draws
            + generator.normal(0, self.seed, (1, runs))
            + generator.normal(0, self.both, (self.patients, runs))
        )


def false_alarms(world: World, studies: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return the share of studies in which each method speaks of a difference that is not there.

    - `random effects`: the interval of `crossed.estimate` leaves out the true mean; its p value is
      below 0.05 in the same studies.
    - `hierarchical bootstrap`: the percentile interval leaves it out.
    - `sign flip, runs averaged`: the permutation test over patients is below 0.05.
    """
    generator = numpy_generator(seed, "simulation")
    missed = np.zeros(3)
    for number in range(studies):
        table = world.make(generator)
        found = estimate(models(table, world.owners))
        low, high = hierarchical_interval(table, draws=world.owners, n=400, seed=number)
        missed += [
            not found.low <= world.mean <= found.high,
            not low <= world.mean <= high,
            sign_flip(row_means(table) - world.mean, n=400, seed=number) < 0.05,
        ]
    return dict(zip(METHODS, (missed / studies).tolist(), strict=True))


def pooled_false_alarms(world: World, studies: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return the same for DSCagg of two equal arms: the share of intervals that leave out zero.

    Volumes are lognormal, so that a few patients hold most of it, as tumours do. Each arm has the
    overlap of its patients from a world of its own, on the scale of logits.
    """
    generator = numpy_generator(seed, "pooled simulation")
    missed = np.zeros(2)
    for number in range(studies):
        volume = np.exp(generator.normal(2, 1, (world.patients, 1)))
        ease = generator.normal(1, 0.7, (world.patients, 1))
        arms = [_sums(volume, ease + world.make(generator)) for _ in range(2)]
        table = np.subtract(*(pseudovalues(arm, dscagg) for arm in arms))
        found = estimate(models(table, world.owners))
        _, low, high = cluster_interval(
            arms[0], dscagg, arms[1], draws=world.owners, n=400, seed=number
        )
        missed += [not found.low <= 0 <= found.high, not low <= 0 <= high]
    return dict(zip(POOLED, (missed / studies).tolist(), strict=True))


def false_equalities(world: World, margin: float, studies: int = 1000, seed: int = 0) -> float:
    """Return the share of studies that call arms equivalent; 5 % at most if a margin apart."""
    generator = numpy_generator(seed, "simulation of equivalence")
    called = 0
    for _ in range(studies):
        table = models(world.make(generator), world.owners)
        called += equivalence(table, margin).equivalent
    return called / studies


def _sums(volume: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
    """Return what an arm with these overlaps adds up to, `[patients, runs]` each, in ml."""
    dice = 1 / (1 + np.exp(-logits))
    reference = np.broadcast_to(volume, dice.shape)
    return {
        "intersection_ml": dice * reference,
        "volume_ml": reference.copy(),
        "reference_volume_ml": reference.copy(),
    }
