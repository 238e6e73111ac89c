"""Bootstraps that keep what belongs together: patients, seeds, and draws of labelled patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..core.seeds import numpy_generator

Sums = Mapping[str, np.ndarray]
"""Sums over cases by name, each `[patients]` or `[samples]`: what a pooled metric is made of."""


def hierarchical_means(
    table: np.ndarray, *, draws: Sequence[int] | None = None, n: int = 2000, seed: int = 0
) -> np.ndarray:
    """Return means of resampled tables: patients anew, and crossed with them, seeds anew.

    Args:
        table: `[patients, seeds]`, NaN where there is no value.
        draws: The draw of labelled patients that each column belongs to: draws are resampled, and
            seeds inside each. Without it, columns are.
        n: Samples.
        seed: Seed.

    Returns:
        `[n]`; NaN where a sample has no value.

    Source:
        Owen, "The pigeonhole bootstrap", Ann Appl Stat 2007, 1:386, for two crossed factors.
    """
    generator = numpy_generator(seed, "hierarchical")
    patients, seeds = table.shape
    rows = generator.multinomial(patients, np.full(patients, 1 / patients), n).astype(float)
    columns = _columns(generator, seeds, draws, n)
    known = np.isfinite(table)
    total = np.einsum("np,ps,ns->n", rows, np.where(known, table, 0.0), columns, optimize=True)
    count = np.einsum("np,ps,ns->n", rows, known.astype(float), columns, optimize=True)
    return np.where(count > 0, total / np.maximum(count, 1e-12), np.nan)


def hierarchical_interval(
    table: np.ndarray,
    *,
    draws: Sequence[int] | None = None,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of `hierarchical_means`.

    With fewer than 20 patients or 5 seeds it is too narrow (`benchmarks/false_alarms.py`); there
    `crossed.estimate` keeps its promise.
    """
    if table.size == 0 or not np.isfinite(table).any():
        return float("nan"), float("nan")
    means = hierarchical_means(table, draws=draws, n=n, seed=seed)
    low, high = np.nanpercentile(means, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)


def cluster_interval(
    sums: Sums,
    pool: Callable[[Sums], np.ndarray],
    against: Sums | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return a pooled metric, such as DSCagg, with its interval; or the difference of two arms.

    Patients are resampled as clusters: all their cases and seeds stay together, and both arms of a
    difference see the same patients.

    Args:
        sums: Per patient, over all its cases and seeds: `evaluation.cohort.dscagg` needs
            `intersection_ml`, `volume_ml` and `reference_volume_ml`.
        pool: Takes sums of samples, and returns the metric of each.
        against: The same patients in another arm; the difference is the first minus this one.
        n: Samples.
        seed: Seed.
        level: Of the interval.

    Returns:
        Value, lower and upper end.
    """
    arms = [sums] if against is None else [sums, against]
    patients = len(next(iter(sums.values())))
    weights = numpy_generator(seed, "clusters").multinomial(
        patients, np.full(patients, 1 / patients), n
    )

    def value(counts: np.ndarray) -> np.ndarray:
        pooled = [pool({key: counts @ row for key, row in arm.items()}) for arm in arms]
        return pooled[0] - pooled[1] if len(pooled) > 1 else pooled[0]

    found = value(weights.astype(float))
    low, high = np.nanpercentile(found, [50 - 50 * level, 50 + 50 * level])
    return float(value(np.ones((1, patients)))[0]), float(low), float(high)


def _columns(
    generator: np.random.Generator, seeds: int, draws: Sequence[int] | None, n: int
) -> np.ndarray:
    """Return how often each column is in each sample, `[n, seeds]`."""
    if draws is None:
        return generator.multinomial(seeds, np.full(seeds, 1 / seeds), n).astype(float)
    own = [np.flatnonzero(np.asarray(draws) == draw) for draw in dict.fromkeys(draws)]
    picked = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), n)
    weights = np.zeros((n, seeds))
    for number, columns in enumerate(own):
        share = np.full(len(columns), 1 / len(columns))
        inner = generator.multinomial(len(columns), share, n)
        # A draw counts once per time it is picked, however many seeds it has.
        weights[:, columns] = picked[:, [number]] * inner / len(columns)
    return weights
