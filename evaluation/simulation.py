"""Made studies without a difference: how often does a method find one, and its interval miss it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.seeds import numpy_generator
from .crossed import estimate
from .equivalence import equivalence
from .hierarchy import hierarchical_interval
from .statistics import sign_flip


@dataclass(frozen=True)
class World:
    """Where differences of two arms come from; a standard deviation each.

    Attributes:
        patients: Test patients.
        seeds: Runs of each arm.
        patient: How much the true difference varies over patients.
        seed: How much it varies over runs, on all patients alike.
        both: How much it varies over single patients in single runs.
        mean: True mean difference.
    """

    patients: int
    seeds: int
    patient: float
    seed: float
    both: float
    mean: float = 0.0

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Return differences `[patients, seeds]`."""
        return (
            self.mean
            + generator.normal(0, self.patient, (self.patients, 1))
            + generator.normal(0, self.seed, (1, self.seeds))
            + generator.normal(0, self.both, (self.patients, self.seeds))
        )


def false_alarms(world: World, studies: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return the share of studies in which each method speaks of a difference that is not there.

    - `random effects`: the interval of `crossed.estimate` leaves out the true mean; its p value is
      below 0.05 in the same studies.
    - `hierarchical bootstrap`: the percentile interval leaves it out.
    - `sign flip, seeds averaged`: the permutation test over patients is below 0.05.
    """
    generator = numpy_generator(seed, "simulation")
    missed = np.zeros(3)
    for number in range(studies):
        table = world.draw(generator)
        found = estimate(table)
        low, high = hierarchical_interval(table, n=400, seed=number)
        missed += [
            not found.low <= world.mean <= found.high,
            not low <= world.mean <= high,
            sign_flip(table.mean(1) - world.mean, n=400, seed=number) < 0.05,
        ]
    names = ("random effects", "hierarchical bootstrap", "sign flip, seeds averaged")
    return dict(zip(names, (missed / studies).tolist(), strict=True))


def false_equalities(world: World, margin: float, studies: int = 1000, seed: int = 0) -> float:
    """Return the share of studies that call arms equivalent; 5 % at most if a margin apart."""
    generator = numpy_generator(seed, "simulation of equivalence")
    return float(
        np.mean([equivalence(world.draw(generator), margin).equivalent for _ in range(studies)])
    )
