"""Bootstraps that keep what belongs together: patients, seeds, and draws of labelled patients."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from hilum.core.seeds import numpy_generator

Sums = Mapping[str, np.ndarray]
"""Sums over cases by name: what a pooled metric is made of."""

Pool = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Takes sums of any shape by name, and returns the metric of each."""


def weights(
    shape: tuple[int, int], *, draws: Sequence[Hashable] | None = None, n: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each patient `[n, patients]` and each run `[n, runs]` is in each sample.

    Patients are drawn again and, crossed with them, runs: first draws of labelled patients, then
    seeds inside each.

    Args:
        shape: Patients and runs.
        draws: The draw that each run belongs to; without it every run is a draw of its own.
        n: Samples.
        seed: Seed.

    Source:
        Owen, "The pigeonhole bootstrap", Ann Appl Stat 2007, 1:386, for two crossed factors.
    """
    generator = numpy_generator(seed, "hierarchical")
    patients, runs = shape
    rows = generator.multinomial(patients, np.full(patients, 1 / patients), n).astype(float)
    if draws is None or len(set(draws)) < 2:
        return rows, generator.multinomial(runs, np.full(runs, 1 / runs), n).astype(float)
    own = [[i for i, d in enumerate(draws) if d == draw] for draw in dict.fromkeys(draws)]
    picked = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), n)
    columns = np.zeros((n, runs))
    for number, inside in enumerate(own):
        share = np.full(len(inside), 1 / len(inside))
        inner = generator.multinomial(len(inside), share, n)
        # A draw counts once per time it is picked, however many seeds it has.
        columns[:, inside] = picked[:, [number]] * inner / len(inside)
    return rows, columns


def weighted_means(cube: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the mean of each layer of a cube under each pair of weights, `[n, layers]`.

    Args:
        cube: `[layers, patients, runs]`, NaN where there is no value.
        rows: `[n, patients]`.
        columns: `[n, runs]`.
    """
    known = np.isfinite(cube)
    total = _weigh(np.where(known, cube, 0.0), rows, columns)
    if known.all():
        return total / (rows.sum(1) * columns.sum(1))[:, None]
    count = _weigh(known.astype(float), rows, columns)
    return np.where(count > 0, total / np.maximum(count, 1e-12), np.nan)


def hierarchical_means(
    table: np.ndarray, *, draws: Sequence[Hashable] | None = None, n: int = 2000, seed: int = 0
) -> np.ndarray:
    """Return the means of resampled tables, `[n]`; NaN where a sample has no value.

    Args:
        table: `[patients, runs]`, NaN where there is no value.
        draws: See `weights`.
        n: Samples.
        seed: Seed.
    """
    rows, columns = weights((table.shape[0], table.shape[1]), draws=draws, n=n, seed=seed)
    return weighted_means(table[None], rows, columns)[:, 0]


def hierarchical_interval(
    table: np.ndarray,
    *,
    draws: Sequence[Hashable] | None = None,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of `hierarchical_means`.

    With fewer than 20 patients or 5 seeds it is too narrow (`benchmarks/study_statistics.py`);
    there `random_effects.estimate` keeps its promise.
    """
    if table.size == 0 or not np.isfinite(table).any():
        return float("nan"), float("nan")
    return ends(hierarchical_means(table, draws=draws, n=n, seed=seed), level)


def cluster_interval(
    sums: Sums,
    pool: Pool,
    against: Sums | None = None,
    *,
    draws: Sequence[Hashable] | None = None,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return a pooled metric, such as DSCagg, with its interval; or the difference of two arms.

    Patients are resampled as clusters: all their cases stay together, and both arms of a difference
    see the same patients and runs. The metric of each run is the mean's part, not that of all runs
    in one pot, so that no run counts more for the volume it predicts.

    Args:
        sums: `[patients, runs]` each, over the cases of a patient:
            `evaluation.statistics.cohort.dscagg` needs `intersection_ml`, `volume_ml` and
            `reference_volume_ml`.
        pool: The metric.
        against: The same patients and runs of another arm; the difference is the first minus it.
        draws: See `weights`.
        n: Samples.
        seed: Seed.
        level: Of the interval.

    Returns:
        Value, lower and upper end.
    """
    arms = [sums] if against is None else [sums, against]
    patients, runs = next(iter(sums.values())).shape
    rows, columns = weights((patients, runs), draws=draws, n=n, seed=seed)

    def value(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        each = [pool({key: rows @ table for key, table in arm.items()}) for arm in arms]
        found = each[0] - each[1] if len(each) > 1 else each[0]
        there = columns * np.isfinite(found)
        total = (there * np.where(np.isfinite(found), found, 0)).sum(1)
        return np.where(there.sum(1) > 0, total / np.maximum(there.sum(1), 1e-12), np.nan)

    whole = float(value(np.ones((1, patients)), weights_of_all(draws, runs))[0])
    return whole, *ends(value(rows, columns), level)


def weights_of_all(draws: Sequence[Hashable] | None, runs: int) -> np.ndarray:
    """Return the weights `[1, runs]` of no resampling: every draw the same, however many seeds."""
    if draws is None:
        return np.ones((1, runs))
    return np.array([[1 / list(draws).count(draw) for draw in draws]])


def ends(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles that hold this fraction of the samples."""
    good = samples[np.isfinite(samples)]
    if not len(good):
        return float("nan"), float("nan")
    low, high = np.percentile(good, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)


def _weigh(cube: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.stack([((rows @ layer) * columns).sum(1) for layer in cube], axis=1)
