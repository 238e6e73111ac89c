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
        shares: `shares[arm][k]`: fraction of bootstrap samples in which the arm has rank `k + 1`;
            equal arms share the places that they take, so that each place adds up to 1.
        tau: Mean of Kendall's tau between the ranks of a sample and those of all patients; 1 if
            they never change.
    """

    order: tuple[str, ...]
    ranks: Mapping[str, float]
    spans: Mapping[str, tuple[float, float]]
    shares: Mapping[str, tuple[float, ...]]
    tau: float

    @property
    def first(self) -> tuple[str, ...]:
        """Every arm that no other is better than: more than one if they are tied."""
        best = min(self.ranks.values(), default=0.0)
        return tuple(name for name in self.order if self.ranks[name] == best)

    def place(self, arm: str) -> str:
        """Return the place of an arm as a table prints it: `3`, or `1 =` if it is shared."""
        better = sum(rank < self.ranks[arm] for rank in self.ranks.values())
        tied = sum(rank == self.ranks[arm] for rank in self.ranks.values()) > 1
        return f"{better + 1}{' =' if tied else ''}"


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
        draws: Draw of labelled patients of each run; see `bootstrap.weights`.
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
    places = _places(samples)
    shares = {name: tuple(places[i].tolist()) for i, name in enumerate(names)}
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


def _places(ranks: np.ndarray) -> np.ndarray:
    """Return the fraction of samples `[arms, places]` that give each arm each place.

    Tied arms have one mean rank; each takes an equal part of the places that they cover.

    Args:
        ranks: `[samples, arms]`, tied arms with their mean rank.
    """
    tied = (ranks[:, :, None] == ranks[:, None, :]).sum(2)
    first = ranks - (tied - 1) / 2
    place = np.arange(1, ranks.shape[1] + 1)
    inside = (place >= first[..., None]) & (place < (first + tied)[..., None])
    return (inside / tied[..., None]).mean(0)


def _known(means: np.ndarray) -> np.ndarray:
    """Return means; an arm without any value is worse than all."""
    return np.where(np.isfinite(means), means, -np.inf)
