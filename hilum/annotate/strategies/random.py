"""Draw patients at random: what every other strategy must beat."""

from __future__ import annotations

import numpy as np

from .base import Allowed, Pick, Pool, Strategy


class RandomStrategy(Strategy):
    """Draw patients at random, all alike."""

    def pick(self, pool: Pool, number: int, allowed: Allowed) -> list[Pick]:
        """Return patients in the order of one draw."""
        order = pool.generator.permutation(len(pool.names))
        chosen: list[int] = []
        while len(chosen) < number:
            may = allowed(chosen)
            chosen.append(int(order[np.argmax(may[order])]))
        return [Pick(index, f"drawn at random, number {n}") for n, index in enumerate(chosen, 1)]
