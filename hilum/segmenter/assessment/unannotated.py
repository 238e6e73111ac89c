"""Classes that nobody looked for in a case: predictions of them are neither right nor wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hilum.evaluation.statistics.cohort import SUMS


def looked_for(annotated: Sequence[int], value: int) -> bool:
    """Tell whether a class was looked for; `annotated` is empty if all were."""
    return not annotated or value in annotated


def of_annotated(mask: np.ndarray, annotated: Sequence[int]) -> np.ndarray:
    """Return a prediction without the classes that were not looked for."""
    return np.where(np.isin(mask, annotated), mask, 0).astype(mask.dtype) if annotated else mask


def hidden(
    probability: np.ndarray, mask: np.ndarray, annotated: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities `[classes, D, H, W]` and a mask with those classes as background."""
    if not annotated:
        return probability, mask
    found = probability.copy()
    for c in range(1, len(found)):
        if not looked_for(annotated, c):
            found[0] += found[c]
            found[c] = 0
    return found, of_annotated(mask, annotated)


def unknown(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return metrics of a class that was not looked for: nan, and nothing to add to a sum."""
    return {name: 0.0 if name in SUMS else math.nan for name in numbers}
