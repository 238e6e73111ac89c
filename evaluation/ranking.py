"""Rank arms, and say how far the ranks would hold for other patients and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from ..core.seeds import numpy_generator


@dataclass(frozen=True)
class Ranking:
    """Ranks of arms and their stability.

    Attributes:
        order: Arms, the best first.
        ranks: Rank of each arm, 1 the best; equal arms share their mean rank.
        shares: `shares[arm][k]`: share of bootstrap samples in which the arm has rank `k + 1`.
        tau: Mean of Kendall's tau between the ranks of a sample and those of all patients; 1 if
            they never change.
    """

    order: tuple[str, ...]
    ranks: Mapping[str, float]
    shares: Mapping[str, tuple[float, ...]]
    tau: float


def rank(
    tables: Mapping[str, np.ndarray],
    *,
    higher_is_better: bool = True,
    way: Literal["mean then rank", "rank then mean"] = "mean then rank",
    n: int = 1000,
    seed: int = 0,
) -> Ranking:
    """Rank arms over patients, and resample patients and seeds to see how stable the ranks are.

    Source:
        Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
        results", Sci Rep 2021, arXiv:1910.05121; we resample seeds, too.

    Args:
        tables: `[patients, seeds]` of each arm, all of the same patients and seeds, NaN where there
            is no value.
        higher_is_better: Whether a larger value is better.
        way: `mean then rank` ranks the means of the arms; `rank then mean` ranks the arms on each
            patient (the seeds of a patient averaged), and these ranks' means.
        n: Bootstrap samples.
        seed: Seed.
    """
    names = list(tables)
    cube = np.stack([tables[name] for name in names]) * (1 if higher_is_better else -1)
    generator = numpy_generator(seed, "ranks")
    _, patients, seeds = cube.shape
    full = _ranks(cube, np.ones((1, patients)), np.ones((1, seeds)), way)[0]
    rows = generator.multinomial(patients, np.full(patients, 1 / patients), n).astype(float)
    columns = generator.multinomial(seeds, np.full(seeds, 1 / seeds), n).astype(float)
    samples = _ranks(cube, rows, columns, way)
    shares = {
        name: tuple(float((np.round(samples[:, i]) == k + 1).mean()) for k in range(len(names)))
        for i, name in enumerate(names)
    }
    taus = [float(stats.kendalltau(full, sample).statistic) for sample in samples[:200]]  # pyright: ignore[reportAttributeAccessIssue]
    known = [tau for tau in taus if tau == tau]
    order = tuple(names[i] for i in np.argsort(full, kind="stable"))
    ranks = {name: float(full[i]) for i, name in enumerate(names)}
    return Ranking(order, ranks, shares, float(np.mean(known)) if known else 1.0)


def _ranks(cube: np.ndarray, rows: np.ndarray, columns: np.ndarray, way: str) -> np.ndarray:
    """Return ranks `[samples, arms]`; the arms come first in `cube`, higher is better."""
    known = np.isfinite(cube)
    filled = np.where(known, cube, 0.0)
    if way == "mean then rank":
        total = np.einsum("np,aps,ns->na", rows, filled, columns, optimize=True)
        count = np.einsum("np,aps,ns->na", rows, known.astype(float), columns, optimize=True)
        return stats.rankdata(-_divide(total, count), axis=1)
    total = np.einsum("aps,ns->nap", filled, columns, optimize=True)
    count = np.einsum("aps,ns->nap", known.astype(float), columns, optimize=True)
    each = stats.rankdata(-_divide(total, count), axis=1)
    mean = np.einsum("np,nap->na", rows, each) / rows.sum(1, keepdims=True)
    return stats.rankdata(mean, axis=1)


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return means; an arm without any value is worse than all."""
    return np.where(count > 0, total / np.maximum(count, 1e-12), -np.inf)
