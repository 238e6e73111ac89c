"""Cover all patients: each next one is the furthest from all that are chosen."""

from __future__ import annotations

import numpy as np

from .base import Allowed, Pick, Pool, Strategy, distances


class CoverageStrategy(Strategy):
    """Take the patient furthest from any that has a label or is chosen (core-set, greedy).

    Source:
        Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
        Approach", ICLR 2018, arXiv:1708.00489, algorithm 1. Where nobody has a label, we begin
        with the patient nearest to the mean.
    """

    needs = "embeddings"
    citation = (
        "Sener, O. and Savarese, S.",
        "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
        "ICLR",
        2018,
        "arXiv:1708.00489",
    )

    def pick(self, pool: Pool, number: int, allowed: Allowed) -> list[Pick]:
        """Return patients so that the largest gap shrinks with each."""
        vectors, known = pool.embedded
        chosen: list[int] = []
        picks: list[Pick] = []
        gap = distances(vectors, known).min(1) if len(known) else np.full(len(vectors), np.inf)
        while len(picks) < number:
            may = allowed(chosen)
            if np.isinf(gap).all():
                middle = distances(vectors, vectors.mean(0)[None])[:, 0]
                index = int(np.argmin(np.where(may, middle, np.inf)))
                reason = "nearest to the mean of all: nobody has a label yet"
            else:
                index = int(np.argmax(np.where(may, gap, -np.inf)))
                reason = f"furthest from all that have a label or are chosen ({gap[index]:.1f})"
            picks.append(Pick(index, reason))
            chosen.append(index)
            gap = np.minimum(gap, distances(vectors, vectors[[index]])[:, 0])
        return picks
