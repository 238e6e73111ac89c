"""Average precision over voxels: what probabilities are worth whatever threshold one takes."""

from __future__ import annotations

import numpy as np

from hilum.core.types import IGNORE


def voxel_average_precision(probability: np.ndarray, reference: np.ndarray) -> float:
    """Return the area under the steps of precision over sensitivity of the voxels of a case.

    Voxels of equal probability enter together. Those that are unknown in the reference (255) do not
    count; without a voxel in the reference the value is NaN.

    Source:
        Sum of (R_n - R_{n-1}) P_n, as scikit-learn's `average_precision_score`.

    Args:
        probability: Of the foreground or of one class, any shape.
        reference: Whether a voxel is of it: 0 or 1, or 255; the same shape.
    """
    known = reference != IGNORE
    values, truth = probability[known], reference[known] > 0
    total = int(np.count_nonzero(truth))
    if not total:
        return float("nan")
    # What is below every voxel of the reference changes nothing: most of a scan is not sorted.
    near = values >= values[truth].min()
    values, truth = values[near], truth[near]
    order = np.argsort(values)[::-1]
    values, truth = values[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    found = np.cumsum(truth)[last]
    gained = np.diff(found, prepend=0)
    return float((gained * found / (last + 1)).sum() / total)
