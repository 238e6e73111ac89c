"""Soft targets in a label of whole numbers: a number for each mixture of the raters' answers.

A label of shares would be several volumes, to be augmented and moved each. One number per voxel
goes wherever a label goes, and a small table says what it means.
"""

from __future__ import annotations

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.errors import DataError

MOST_CLASSES = 20
"""In a label."""
FIRST = MOST_CLASSES + 1
"""Number of the first mixture; below are classes."""
LAST = 253
"""Of the last one; 254 is taken by organs, 255 means unknown."""


def shares_of(masks: np.ndarray, case: str = "") -> tuple[np.ndarray, list[list[float]]]:
    """Return the label of mixtures, and what each of them is.

    Args:
        masks: uint8 `[R, D, H, W]`: 0 background, classes, 255 where a rater does not know.
        case: For messages.

    Returns:
        uint8 `[D, H, W]`: a class where all raters who know agree, `FIRST + i` where they do not,
        255 where nobody knows; and of each mixture the fraction of the raters who know that said
        background, class 1, class 2, ...

    Raises:
        DataError: If there are more mixtures than numbers.
    """
    low = masks.min(0)
    high = np.where(masks == IGNORE, 0, masks).max(0)
    label = low.astype(np.uint8)  # 255 only where nobody knows
    apart = (high > low) & (low != IGNORE)
    if not apart.any():
        return label, []
    classes = int(high.max()) + 1
    votes = np.stack([(masks[:, apart] == c).sum(0) for c in range(classes)], 1)
    mixtures, place = np.unique(votes, axis=0, return_inverse=True)
    if len(mixtures) > LAST - FIRST + 1:
        raise DataError(
            f"raters may differ in at most {LAST - FIRST + 1} ways",
            case=case,
            found=len(mixtures),
            remedy="prepare with raters=staple or raters=majority",
        )
    label[apart] = FIRST + place.reshape(-1)
    return label, (mixtures / mixtures.sum(1, keepdims=True)).tolist()


def table_of(shares: list[list[float]], classes: int) -> np.ndarray:
    """Return the target that each number of a label stands for, float32 `[256, classes]`.

    Args:
        shares: Of the mixtures, as `shares_of` gives them.
        classes: Background included.
    """
    table = np.zeros((IGNORE + 1, classes), np.float32)
    pure = min(classes, FIRST)
    table[:pure, :pure] = np.eye(pure)
    for number, row in enumerate(shares, FIRST):
        table[number, : len(row)] = row
    return table
