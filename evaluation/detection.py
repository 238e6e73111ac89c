"""Which lesions were found: matching of components, and volumes that were missed or made up."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from ..core.components import components
from ..core.geometry import Grid
from .axes import axes_mm
from .metrics_table import SIZE_BANDS

IOU = 0.3


def detection_metrics(
    prediction: np.ndarray, reference: np.ndarray, grid: Grid
) -> dict[str, float]:
    """Match lesions one to one and return counts, sensitivity and sensitivity by short axis.

    A lesion is a component with 26 neighbours. Pairs with an IoU above 0.3 may match, each lesion
    once; of all such matchings the one with the most pairs is taken (and then the largest IoU).

    Source:
        HECKTOR 2025, F1agg at IoU 0.3; connectivity and one-to-one rule are stated here, since the
        challenge does not.

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same.
        grid: Gives the spacing, for the short axis of a lesion.

    Returns:
        `lesion_tp`, `lesion_fp`, `lesion_fn`, `lesion_sensitivity` (NaN without a lesion), and per
        band of `SIZE_BANDS` `sensitivity_`, `found_` and `lesions_`.
    """
    predicted, n_predicted = components(prediction)
    truth, n_truth = components(reference)
    found = _match(predicted, n_predicted, truth, n_truth)
    numbers = {
        "lesion_tp": float(len(found)),
        "lesion_fp": float(n_predicted - len(found)),
        "lesion_fn": float(n_truth - len(found)),
        "false_positives": float(n_predicted - len(found)),
        "lesion_sensitivity": len(found) / n_truth if n_truth else math.nan,
    }
    return numbers | _by_size(truth, found, grid)


def volume_metrics(prediction: np.ndarray, reference: np.ndarray, grid: Grid) -> dict[str, float]:
    """Return autoPET's false positive and false negative volumes in ml.

    Source:
        autoPET challenge, evaluation code: components with 18 neighbours and no overlap at all.

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same; without a voxel FNV is NaN.
        grid: Gives the volume of a voxel.
    """
    fnv = _without_overlap(reference, prediction) if reference.any() else math.nan
    return {
        "fpv_ml": _without_overlap(prediction, reference) * grid.voxel_ml,
        "fnv_ml": fnv * grid.voxel_ml,
    }


def _match(predicted: np.ndarray, n_predicted: int, truth: np.ndarray, n_truth: int) -> set[int]:
    """Return the reference lesions that have a match."""
    if not n_predicted or not n_truth:
        return set()
    inside = (predicted > 0) | (truth > 0)
    pairs = predicted[inside].astype(np.int64) * (n_truth + 1) + truth[inside]
    shape = (n_predicted + 1, n_truth + 1)
    both = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    sizes_p, sizes_t = both.sum(1)[1:, None], both.sum(0)[None, 1:]
    overlap = both[1:, 1:]
    iou = overlap / (sizes_p + sizes_t - overlap)
    iou[iou <= IOU] = 0
    # A pair more outweighs any sum of IoU, which is below the number of pairs.
    rows, columns = linear_sum_assignment(-(iou + min(iou.shape) * (iou > 0)))
    return {int(c) + 1 for r, c in zip(rows, columns, strict=True) if iou[r, c] > 0}


def _by_size(truth: np.ndarray, found: set[int], grid: Grid) -> dict[str, float]:
    counts = {name: [0, 0] for name in SIZE_BANDS}
    for number, box in enumerate(ndimage.find_objects(truth), 1):
        _, short = axes_mm(truth[box] == number, grid.spacing)
        name = next(n for n, (low, high) in SIZE_BANDS.items() if low <= short < high)
        counts[name][0] += number in found
        counts[name][1] += 1
    numbers: dict[str, float] = {}
    for name, (hit, total) in counts.items():
        numbers[f"sensitivity_{name}"] = hit / total if total else math.nan
        numbers |= {f"found_{name}": float(hit), f"lesions_{name}": float(total)}
    return numbers


def _without_overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Return the number of voxels of components of `mask` that touch no voxel of `other`."""
    labels, count = components(mask, 18)
    if not count:
        return 0.0
    touched = np.zeros(count + 1, bool)
    touched[labels[other]] = True
    return float(np.bincount(labels[mask], minlength=count + 1)[~touched].sum())
