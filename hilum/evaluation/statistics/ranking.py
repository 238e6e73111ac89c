"""Rank arms, and say how far the ranks would hold for other patients and seeds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from .bootstrap import ends, weighted_means, weights, weights_of_all


@dataclass(frozen=True)
class Ranking:
    """Ranks of arms and their stability.

    Attributes:
        order: Arms, the best first.
        ranks: Rank of each arm, 1 the best; equal arms share their mean rank.
        spans: Ends of the interval that holds 95 % of an arm's ranks over bootstrap samples.
        shares: `shares[arm][k]`: share of bootstrap samples in which the arm has rank `k + 1`.
        tau: Mean of Kendall's tau between the ranks of a sample and those of all patients; 1 if
            they never change.
    """

    order: tuple[str, ...]
    ranks: Mapping[str, float]
    spans: Mapping[str, tuple[float, float]]
    shares: Mapping[str, tuple[float, ...]]
    tau: float


def rank(
    tables: Mapping[str, np.ndarray],
    *,
    draws: Sequence[Hashable] | None = None,
    higher_is_better: bool = True,
    way: Literal["mean then rank", "rank then mean"] = "mean then rank",
    n: int = 1000,
    seed: int = 0,
) -> Ranking:
    """Rank arms over patients, and resample patients and runs to see how stable the ranks are.

    Source:
        Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
        results", Sci Rep 2021, arXiv:1910.05121; we resample runs, too.

    Args:
        tables: `[patients, runs]` of each arm, all of the same patients and runs, NaN where there
            is no value.
        draws: Draw of labelled patients of each run; see `hierarchy.weights`.
        higher_is_better: Whether a larger value is better.
        way: `mean then rank` ranks the means of the arms; `rank then mean` ranks the arms on each
            patient (the runs of a patient averaged), and these ranks' means.
        n: Bootstrap samples.
        seed: Seed.
    """
    names = list(tables)
    cube = np.stack([tables[name] for name in names]) * (1 if higher_is_better else -1)
    _, patients, runs = cube.shape
    full = _ranks(cube, np.ones((1, patients)), weights_of_all(draws, runs), way)[0]
    samples = _ranks(cube, *weights((patients, runs), draws=draws, n=n, seed=seed), way)
    shares = {
        name: tuple(float((np.round(samples[:, i]) == k + 1).mean()) for k in range(len(names)))
        for i, name in enumerate(names)
    }
    taus = [float(stats.kendalltau(full, sample).statistic) for sample in samples[:200]]  # pyright: ignore[reportAttributeAccessIssue]
    known = [tau for tau in taus if tau == tau]
    order = tuple(names[i] for i in np.argsort(full, kind="stable"))
    ranks = {name: float(full[i]) for i, name in enumerate(names)}
    spans = {name: ends(samples[:, i]) for i, name in enumerate(names)}
    return Ranking(order, ranks, spans, shares, float(np.mean(known)) if known else 1.0)


def _ranks(cube: np.ndarray, rows: np.ndarray, columns: np.ndarray, way: str) -> np.ndarray:
    """Return ranks `[samples, arms]`; the arms come first in `cube`, higher is better."""
    if way == "mean then rank":
        return stats.rankdata(-_known(weighted_means(cube, rows, columns)), axis=1)
    means = np.stack(
        [weighted_means(cube[:, [p]], np.ones((len(columns), 1)), columns)
         for p in range(cube.shape[1])]
    )  # fmt: skip
    each = stats.rankdata(-_known(means), axis=2)
    return stats.rankdata(np.einsum("np,pna->na", rows, each), axis=1)


def _known(means: np.ndarray) -> np.ndarray:
    """Return means; an arm without any value is worse than all."""
    return np.where(np.isfinite(means), means, -np.inf)
