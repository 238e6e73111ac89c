"""Which lesions were found: matching of components, and volumes that were missed or made up."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from hilum.core.connected_components import components
from hilum.core.geometry import Grid

from .axes import axes_mm
from .instances import Instances
from .lesions import overlaps
from .table import SIZE_BANDS

IOU = 0.3
STRICT_IOU = 0.5


def detection_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    lesions: tuple[Instances, Instances] | None = None,
) -> dict[str, float]:
    """Match lesions one to one and return counts, sensitivity and sensitivity by short axis.

    A lesion is a component with 26 neighbours. Pairs with an IoU above 0.3 may match; among them
    the matching with the largest sum of IoU is taken, so that no lesion is used twice.

    Source:
        HECKTOR 2025, F1agg at IoU 0.3; connectivity and one-to-one rule are stated here, since the
        challenge does not.

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same.
        grid: Where they lie.
        lesions: Of both, if they are known.
    """
    ours, theirs = lesions or (Instances.of(prediction), Instances.of(reference))
    n_predicted, n_truth = ours.count, theirs.count
    iou = _iou(ours, theirs)
    found, strict = _match(iou), _match(iou, STRICT_IOU)
    sure = len(strict) + (n_predicted + n_truth - 2 * len(strict)) / 2
    overlap = math.fsum(iou[p - 1, t - 1] for p, t in strict)
    numbers = {
        "lesion_tp": float(len(found)),
        "lesion_fp": float(n_predicted - len(found)),
        "lesion_fn": float(n_truth - len(found)),
        "false_positives": float(n_predicted - len(found)),
        "lesion_tp_50": float(len(strict)),
        "panoptic_quality": overlap / sure if sure else math.nan,
        "segmentation_quality": overlap / len(strict) if strict else math.nan,
        "recognition_quality": len(strict) / sure if sure else math.nan,
        "lesion_precision": len(found) / n_predicted if n_predicted else math.nan,
        "lesion_sensitivity": len(found) / n_truth if n_truth else math.nan,
    }
    return numbers | _by_size(theirs, {truth for _, truth in found}, grid)


def volume_metrics(prediction: np.ndarray, reference: np.ndarray, grid: Grid) -> dict[str, float]:
    """Return autoPET's false positive and false negative volumes in ml.

    Source:
        autoPET challenge, evaluation code: components with 18 neighbours and no overlap at all.
    """
    fnv = _without_overlap(reference, prediction) if reference.any() else math.nan
    return {
        "fpv_ml": _without_overlap(prediction, reference) * grid.voxel_ml,
        "fnv_ml": fnv * grid.voxel_ml,
    }


def _iou(ours: Instances, theirs: Instances) -> np.ndarray:
    """Return the IoU of each predicted with each reference lesion."""
    both = overlaps(ours, theirs)
    sizes_p, sizes_t = both.sum(1)[1:, None], both.sum(0)[None, 1:]
    return both[1:, 1:] / (sizes_p + sizes_t - both[1:, 1:])


def _match(iou: np.ndarray, least: float = IOU) -> set[tuple[int, int]]:
    """Return the predicted and reference lesions that match with an IoU above `least`."""
    iou = np.where(iou > least, iou, 0)
    rows, columns = linear_sum_assignment(-iou)
    return {(int(r) + 1, int(c) + 1) for r, c in zip(rows, columns, strict=True) if iou[r, c] > 0}


def _by_size(truth: Instances, found: set[int], grid: Grid) -> dict[str, float]:
    counts = {name: [0, 0] for name in SIZE_BANDS}
    for number, box in enumerate(truth.boxes, 1):
        _, short = axes_mm(truth.labels[box] == number, grid.spacing)
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
    touched[labels[mask & other]] = True
    touched[0] = True
    return float(np.bincount(labels[mask], minlength=count + 1)[~touched].sum())
