"""Dice of a validation case from counts of its voxels."""

from __future__ import annotations

import numpy as np

from hilum.evaluation.metrics.empty import settled, state_of


def dice_of(counts: np.ndarray) -> list[float]:
    """Return the Dice of each class of a case, as `evaluation.metrics.empty` says.

    Args:
        counts: `[classes, 4]` voxels: that both have, that each has, and that are unknown.
    """
    found = []
    for both, ours, truth, unknown in counts:
        numbers = {"dice": 2 * both / (ours + truth) if ours + truth else float("nan")}
        state = state_of(bool(ours), bool(truth), bool(unknown))
        found.append(settled(numbers, state, float("nan"), "1")["dice"])
    return found
