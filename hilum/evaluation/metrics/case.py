"""Every metric of one case, with the work that they share done once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.types import IGNORE

from .detection import detection_metrics, volume_metrics
from .instances import Instances, foreground_box
from .lesions import lesion_metrics
from .surface import surface_metrics
from .table import METRICS


def case_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray] | None = None,
    label: int = 1,
) -> dict[str, float]:
    """Return the metrics of `metrics_table.METRICS` for one case, and the sums that pooling needs.

    Voxels that are unknown in the reference (255) count in neither mask.

    Args:
        prediction: Whole numbers `[D, H, W]`.
        reference: The same.
        grid: Where both lie.
        volumes: Physical images on the grid; with `pet` the errors of TLG are added.
        label: The class that counts.

    Raises:
        DataError: If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise DataError(
            "prediction and reference must have one shape",
            found=f"{prediction.shape} and {reference.shape}",
        )
    known = reference != IGNORE
    p, g = (prediction == label) & known, (reference == label) & known
    ml = grid.voxel_ml
    box = foreground_box(p | g)
    near_p, near_g = p[box], g[box]
    both, volume, truth = (
        float(np.count_nonzero(x)) * ml for x in (near_p & near_g, near_p, near_g)
    )
    union = volume + truth - both
    numbers = {
        "dice": 2 * both / (volume + truth) if union else 1.0,
        "iou": both / union if union else 1.0,
        "intersection_ml": both,
        "volume_ml": volume,
        "reference_volume_ml": truth,
        "volume_error_ml": volume - truth,
    }
    numbers |= surface_metrics(near_p, near_g, grid) if union else surface_metrics(p, g, grid)
    if bool(volume) != bool(truth):
        # The penalty is the diagonal of the whole image, not of the box.
        numbers |= surface_metrics(p, g, grid)
    lesions = (Instances.of(near_p), Instances.of(near_g))
    numbers |= lesion_metrics(near_p, near_g, grid, lesions)
    numbers |= detection_metrics(near_p, near_g, grid, lesions)
    numbers |= volume_metrics(near_p, near_g, grid)
    if volumes and "pet" in volumes:
        pet = volumes["pet"]
        numbers["tlg_error"] = float(pet[p].sum(dtype=float) - pet[g].sum(dtype=float)) * ml
    for name, metric in METRICS.working():
        if metric.measure is not None:
            numbers[name] = float(metric.measure(p, g, grid, volumes or {}))
    return numbers
