"""Which lesions were found: matching of components, and missed and false volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hilum.core.connected_components import components
from hilum.core.geometry import Grid

from .axes import axes_mm
from .instances import Instances
from .matching import HIT_IOU, Hit, Nearby
from .table import SIZE_BANDS

STRICT_IOU = 0.5
THRESHOLDS = tuple(n / 10 for n in range(1, 10))
"""IoU over which the F1 of lesions is averaged."""


def detection_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    lesions: tuple[Instances, Instances] | None = None,
    *,
    hit: Hit = "iou",
    hit_iou: float = HIT_IOU,
    hit_mm: float = 5.0,
    short_axes_mm: Sequence[float] | None = None,
) -> dict[str, float]:
    """Match lesions one to one and return counts, sensitivity and sensitivity by short axis.

    A lesion is a component with 26 neighbours. Which pairs may match the hit criterion says; no
    lesion is used twice (`matching.Nearby.match`). Panoptic quality and the F1 over thresholds
    always go by the IoU.

    Source:
        HECKTOR 2025, F1agg at IoU 0.3; connectivity and one-to-one rule are stated here, since the
        challenge does not.

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same.
        grid: Where they lie.
        lesions: Of both, if they are known.
        hit: Criterion.
        hit_iou: IoU that a pair must exceed, for `iou`.
        hit_mm: Largest distance of centres, for `distance`.
        short_axes_mm: Of the reference's lesions, if they are known.
    """
    ours, theirs = lesions or (Instances.of(prediction), Instances.of(reference))
    n_predicted, n_truth = ours.count, theirs.count
    near = Nearby.of(ours, theirs, grid)
    iou = near.iou
    found, strict = near.match(hit, hit_iou, hit_mm), near.match("iou", STRICT_IOU, hit_mm)
    f1 = [2 * len(near.match("iou", least, hit_mm)) for least in THRESHOLDS]
    either = n_predicted + n_truth
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
        "lesion_f1_auc": math.fsum(f1) / len(f1) / either if either else math.nan,
        "lesion_precision": len(found) / n_predicted if n_predicted else math.nan,
        "lesion_sensitivity": len(found) / n_truth if n_truth else math.nan,
    }
    short = _short_axes(theirs, grid) if short_axes_mm is None else short_axes_mm
    return numbers | _by_size(short, {truth for _, truth in found})


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


def _short_axes(nodes: Instances, grid: Grid) -> list[float]:
    """Return the short axis of each node in mm."""
    boxes = enumerate(nodes.boxes, 1)
    return [axes_mm(nodes.labels[box] == number, grid.spacing)[1] for number, box in boxes]


def _by_size(short_mm: Sequence[float], found: set[int]) -> dict[str, float]:
    counts = {name: [0, 0] for name in SIZE_BANDS}
    for number, short in enumerate(short_mm, 1):
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
