"""How raters differ, next to how a prediction differs from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from hilum.core.types import IGNORE


def rater_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    raters: Mapping[str, np.ndarray],
    value: int,
    voxel_ml: float,
) -> dict[str, float]:
    """Return how raters agree on a class, and how a prediction agrees with each of them.

    A prediction as good as a rater has a mean Dice with raters about that between raters; where
    raters differ, no prediction can be right for all. Dice of two that mark nothing is undefined.

    Args:
        prediction: Whole numbers `[D, H, W]`.
        reference: The same, 255 where unknown; with `raters` it says what an error is.
        raters: What each said, by name; 255 where one does not know.
        value: The class.
        voxel_ml: Volume of a voxel.

    Returns:
        Metrics of `metrics.table` whose names begin with `rater`; none of fewer than two raters.
    """
    if len(raters) < 2:
        return {}
    ours = prediction == value
    each = {name: (mask == value, mask != IGNORE) for name, mask in raters.items()}
    between = [_dice(*one, *other) for one, other in combinations(each.values(), 2)]
    with_each = [_dice(ours, np.True_, *one) for one in each.values()]
    known = np.stack([there for _, there in each.values()])
    marked = np.stack([mask for mask, _ in each.values()])
    votes, voters = marked.sum(0), known.sum(0)
    apart = (votes > 0) & (votes < voters)
    sure = reference != IGNORE
    wrong = (ours != (reference == value)) & sure
    errors = int(np.count_nonzero(wrong))
    return {
        "rater_dice": _mean(between),
        "rater_dice_prediction": _mean(with_each),
        "rater_disagreement_ml": float(np.count_nonzero(apart)) * voxel_ml,
        "rater_errors": int(np.count_nonzero(wrong & apart)) / errors if errors else math.nan,
    }


def _dice(
    one: np.ndarray, known: np.ndarray | np.bool, other: np.ndarray, also: np.ndarray
) -> float:
    both = known & also
    total = int(np.count_nonzero(one & both)) + int(np.count_nonzero(other & both))
    return 2 * int(np.count_nonzero(one & other & both)) / total if total else math.nan


def _mean(values: list[float]) -> float:
    good = [value for value in values if value == value]
    return sum(good) / len(good) if good else math.nan
