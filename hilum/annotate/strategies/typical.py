"""Take the most typical patient of each cluster."""

from __future__ import annotations

import numpy as np

from .base import Allowed, Pick, Pool, Strategy, distances
from .clustering import k_means

NEIGHBOURS = 20
"""Nearest of a cluster by which typicality is measured; fewer if the cluster is smaller."""


class TypicalStrategy(Strategy):
    r"""Take the most typical patient of the largest clusters that have no label yet (TypiClust).

    All patients are clustered into as many clusters as there will be labels. The typicality of $x$
    is $(\frac1K\sum_{i=1}^K\lVert x-x_i\rVert)^{-1}$ over the $K$ nearest of its cluster. Clusters
    with the fewest labels come first, among these the largest.

    Source:
        Hacohen and others, "Active Learning on a Budget: Opposite Strategies Suit High and Low
        Budgets", ICML 2022, arXiv:2202.02794, section 3. Ours has no smallest size of a cluster,
        since cohorts are small, and clusters the embeddings as they are, standardised.
    """

    needs = "embeddings"
    citation = (
        "Hacohen, G. and others",
        "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets",
        "ICML",
        2022,
        "arXiv:2202.02794",
    )

    def pick(self, pool: Pool, number: int, allowed: Allowed) -> list[Pick]:
        """Return one patient after another, each from the cluster that lacks one most."""
        vectors, known = pool.embedded
        both = np.concatenate([vectors, known]).astype(np.float64)
        count = min(len(known) + number, len(both))
        cluster = k_means(both, count, pool.generator)
        typicality = _typicality(both, cluster)
        own = cluster[: len(vectors)]
        labels = np.bincount(cluster[len(vectors) :], minlength=count)
        size = np.bincount(cluster, minlength=count)
        chosen: list[int] = []
        picks: list[Pick] = []
        while len(picks) < number:
            may = np.flatnonzero(allowed(chosen))
            # Fewest labels first, then the largest cluster, then the most typical patient.
            order = np.lexsort((-typicality[may], -size[own[may]], labels[own[may]]))
            index = int(may[order[0]])
            group = int(own[index])
            rest = typicality[: len(vectors)][own == group]
            rank = int((rest > typicality[index]).sum()) + 1
            reason = (
                f"most typical but {rank - 1}" if rank > 1 else "most typical"
            ) + f" of cluster {group + 1} of {count} ({size[group]} patients)"
            picks.append(Pick(index, reason))
            chosen.append(index)
            labels[group] += 1
        return picks


def _typicality(vectors: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Return the typicality of each row in its cluster; infinite for copies of one vector."""
    found = np.zeros(len(vectors))
    for group in np.unique(cluster):
        own = np.flatnonzero(cluster == group)
        apart = np.sort(distances(vectors[own], vectors[own]), 1)[:, 1 : NEIGHBOURS + 1]
        # Alone in its cluster: nothing is near, but nothing else is typical of it.
        mean = apart.mean(1) if apart.shape[1] else np.ones(1)
        with np.errstate(divide="ignore"):
            found[own] = 1 / mean
    return found
