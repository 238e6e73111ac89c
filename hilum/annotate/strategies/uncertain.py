"""Take patients that a segmenter is unsure of, classes in turn, and none like another."""

from __future__ import annotations

import numpy as np

from hilum.core.errors import SettingsError

from .base import Allowed, Pick, Pool, Strategy, distances

UNSURE = 3
"""How many of the most uncertain patients there are to choose from, per patient to label."""


class UncertainStrategy(Strategy):
    """Take, for each class in turn, the most different of the patients that it is unsure in.

    Of the candidates the most uncertain in the class whose turn it is are kept (three for each
    patient to label); the one furthest from all that have a label or are chosen is taken. For later
    rounds: a segmenter of few patients is unsure of everything.

    Source:
        Classes in turn as in ClaSP-PE (nnActive), which stratifies patches by predicted class and
        adds noise to the ranking; ours chooses whole patients, and diversity takes the place of
        noise.
    """

    needs = "segmenter"

    def pick(self, pool: Pool, number: int, allowed: Allowed) -> list[Pick]:
        """Return patients, the classes in turn."""
        if pool.doubt is None:
            raise SettingsError(
                "the strategy uncertain needs a segmenter", remedy="give --segmenter FOLDER"
            )
        vectors, known = pool.embedded
        chosen: list[int] = []
        picks: list[Pick] = []
        classes = pool.doubt.shape[1]
        while len(picks) < number:
            value = len(picks) % classes
            may = np.flatnonzero(allowed(chosen))
            doubt = pool.doubt[:, value]
            near = may[np.argsort(-doubt[may], kind="stable")][: UNSURE * number]
            others = np.concatenate([known, vectors[chosen]])
            gap = distances(vectors[near], others).min(1) if len(others) else doubt[near]
            index = int(near[np.argmax(gap)])
            rank = int((doubt > doubt[index]).sum()) + 1
            reason = f"uncertain in class {value + 1} ({doubt[index]:.2f}, rank {rank})"
            picks.append(Pick(index, f"{reason}, unlike those chosen" if len(others) else reason))
            chosen.append(index)
        return picks
