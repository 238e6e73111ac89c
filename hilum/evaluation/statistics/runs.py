"""Line up what several arms measured: the same patients in rows, the same runs in columns."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Run = int | tuple[Hashable, Hashable]
"""A trained model of an arm: its seed, or its draw of the labelled patients and its seed."""

Values = Mapping[str, Mapping[Any, float]]
"""`values[patient][run]`; the key is a `Run`, which a mapping's key type cannot say loosely."""


@dataclass(frozen=True)
class Aligned:
    """Several arms on the same patients and runs.

    Attributes:
        patients: Row of each.
        runs: Column of each.
        cube: `[arms, patients, runs]`, NaN where there is no value.
    """

    patients: tuple[str, ...]
    runs: tuple[Run, ...]
    cube: np.ndarray

    @property
    def draws(self) -> list[Hashable]:
        """Draw of the labelled patients of each column."""
        return [draw_of(run) for run in self.runs]

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(set(self.draws))

    @property
    def n_seeds(self) -> int:
        """Number of different seeds."""
        return len({run[1] if isinstance(run, tuple) else run for run in self.runs})


def align(arms: Sequence[Values], *, common: bool = True) -> Aligned:
    """Return arms as one cube.

    Args:
        arms: Values of each.
        common: Keep the patients and runs that all arms have; else those of any, with holes.
    """
    keep = set.intersection if common else set.union
    patients = sorted(keep(*(set(arm) for arm in arms)) if arms else ())
    runs_of = [{run for p in patients for run in arm.get(p, {})} for arm in arms]
    runs = sorted(keep(*runs_of) if arms else (), key=_order)
    cube = np.full((len(arms), len(patients), len(runs)), math.nan)
    for a, arm in enumerate(arms):
        for p, patient in enumerate(patients):
            own = arm.get(patient, {})
            cube[a, p] = [own.get(run, math.nan) for run in runs]
    return Aligned(tuple(patients), tuple(runs), cube)


def models(table: np.ndarray, draws: Sequence[Hashable]) -> np.ndarray:
    """Return `[patients, models]`: what was repeated at random as a whole.

    With several draws of the labelled patients these are the draws, each the mean of its seeds,
    because the seeds of one draw share its sampling. With one draw they are the seeds.

    Args:
        table: `[patients, runs]`, NaN where there is no value.
        draws: Draw of each run.
    """
    own = list(dict.fromkeys(draws))
    if len(own) < 2:
        return table
    columns = [[i for i, draw in enumerate(draws) if draw == one] for one in own]
    return np.stack([row_means(table[:, c]) for c in columns], axis=1)


def row_means(table: np.ndarray) -> np.ndarray:
    """Return the mean of the values in each row, NaN for a row without any."""
    known = np.isfinite(table)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, table, 0).sum(1) / np.maximum(count, 1), math.nan)


def draw_of(run: Run) -> Hashable:
    """Return the draw of a run; runs that are named by their seed alone share one."""
    return run[0] if isinstance(run, tuple) else 0


def _order(run: Run) -> tuple[tuple[float, str], ...]:
    parts = run if isinstance(run, tuple) else (0, run)
    return tuple(
        (float(part), "") if isinstance(part, int | float) else (math.inf, str(part))
        for part in parts
    )
