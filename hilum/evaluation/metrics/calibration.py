"""Whether probabilities mean what they say, near the foreground and per node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hilum.core.geometry import Grid


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width over probability.

    Attributes:
        count: Values in each bin.
        confidence: Mean probability in each bin; NaN if empty.
        frequency: Fraction of true values in each bin; NaN if empty.
        ece: Mean of |confidence - frequency| weighted by count; NaN without values.
        brier: Mean of (probability - truth)^2; NaN without values.
    """

    count: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray
    ece: float
    brier: float


def reliability(probability: np.ndarray, truth: np.ndarray, bins: int = 10) -> Reliability:
    """Return the reliability of probabilities of any shape against booleans.

    Serves voxels and nodes alike: for nodes, give the score of each and whether it is real.

    Source:
        Naeini et al., AAAI 2015 (ECE); Brier 1950.
    """
    p, t = np.asarray(probability, float).ravel(), np.asarray(truth, bool).ravel()
    index = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    confidence = np.bincount(index, p, bins) / filled
    frequency = np.bincount(index, t.astype(float), bins) / filled
    if not p.size:
        return Reliability(count, confidence, frequency, float("nan"), float("nan"))
    ece = float(np.nansum(count * np.abs(confidence - frequency)) / p.size)
    return Reliability(count, confidence, frequency, ece, float(((p - t) ** 2).mean()))


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """Return the reliability of all values of several, such as those of the cases of a cohort."""
    count = np.sum([part.count for part in parts], 0)
    filled = np.where(count > 0, count, np.nan)
    confidence, frequency = (
        np.sum([np.nan_to_num(value) * part.count for part, value in pairs], 0) / filled
        for pairs in (
            [(part, part.confidence) for part in parts],
            [(part, part.frequency) for part in parts],
        )
    )
    total = count.sum()
    if not total:
        return Reliability(count, confidence, frequency, float("nan"), float("nan"))
    ece = float(np.nansum(count * np.abs(confidence - frequency)) / total)
    brier = sum(part.brier * part.count.sum() for part in parts if part.count.any()) / total
    return Reliability(count, confidence, frequency, ece, float(brier))


def near_foreground(
    prediction: np.ndarray, reference: np.ndarray, grid: Grid, margin_mm: float = 10.0
) -> np.ndarray:
    """Return the voxels within `margin_mm` of either mask; far background would hide every error.

    Distances run between voxel centres. Two empty masks give no voxel.
    """
    either = (prediction > 0) | (reference > 0)
    if not either.any():
        return np.zeros(either.shape, bool)
    found = ndimage.find_objects(either.astype(np.uint8))[0]
    reach = [int(margin_mm // s) + 1 for s in grid.spacing]
    box = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(found, reach, strict=True))
    near = np.zeros(either.shape, bool)
    distance = ndimage.distance_transform_edt(~either[box], sampling=grid.spacing)
    near[box] = np.asarray(distance) <= margin_mm
    return near
