"""k-means, the same each time for the same draws."""

from __future__ import annotations

import numpy as np

from .base import distances

RESTARTS, MOST_STEPS = 10, 100


def k_means(vectors: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the cluster of each row, `[N]`: the best of some starts by k-means++.

    No cluster is empty as long as there are as many different rows.

    Source:
        Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """
    best, least = np.zeros(len(vectors), int), np.inf
    for _ in range(RESTARTS):
        centres = _seeds(vectors, count, generator)
        cluster = distances(vectors, centres).argmin(1)
        for _ in range(MOST_STEPS):
            for index in range(count):
                own = vectors[cluster == index]
                if len(own):
                    centres[index] = own.mean(0)
            after = distances(vectors, centres).argmin(1)
            if (after == cluster).all():
                break
            cluster = after
        spread = float((distances(vectors, centres).min(1) ** 2).sum())
        if spread < least:
            best, least = cluster, spread
    return best


def _seeds(vectors: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return rows to begin with, each drawn by its squared distance from those before."""
    chosen = [int(generator.integers(len(vectors)))]
    while len(chosen) < count:
        gap = distances(vectors, vectors[chosen]).min(1) ** 2
        gap[chosen] = 0
        total = gap.sum()
        share = gap / total if total > 0 else None
        chosen.append(int(generator.choice(len(vectors), p=share)))
    return vectors[chosen].astype(np.float64)
