"""Every metric of one case, with the work that they share done once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..core.errors import DataError
from ..core.geometry import Grid
from ..core.types import IGNORE
from .detection import detection_metrics, volume_metrics
from .surface import surface_metrics
from .voxel import voxel_metrics


def case_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray] | None = None,
    label: int = 1,
) -> dict[str, float]:
    """Return the metrics of `metrics_table.METRICS` for one case, and the sums that pooling needs.

    Voxels that are unknown in the reference (255) count in neither mask, so that nothing which is
    predicted there changes any metric.

    Args:
        prediction: Whole numbers or booleans `[D, H, W]`.
        reference: The same.
        grid: Where both lie.
        volumes: Physical images on the grid; with `pet` (SUV) the errors of uptake are added.
        label: The class that counts.

    Raises:
        DataError: If the shapes differ.
    """
    _check_shapes(prediction, reference, volumes or {})
    known = reference != IGNORE
    p, g = (prediction == label) & known, (reference == label) & known
    box = _box(p | g)
    p, g = p[box], g[box]
    numbers = voxel_metrics(p, g, grid)
    numbers |= surface_metrics(p, g, grid)
    numbers |= detection_metrics(p, g, grid)
    numbers |= volume_metrics(p, g, grid)
    if volumes and "pet" in volumes:
        numbers |= _uptake_errors(volumes["pet"][box], p, g, grid)
    return numbers


def _check_shapes(
    prediction: np.ndarray, reference: np.ndarray, volumes: Mapping[str, np.ndarray]
) -> None:
    if prediction.shape != reference.shape:
        raise DataError(
            "prediction and reference must have one shape",
            found=f"{prediction.shape} and {reference.shape}",
            remedy="bring the prediction to the grid of the reference",
        )
    for name, volume in volumes.items():
        if volume.shape != reference.shape:
            raise DataError(
                f"{name} must have the shape of the reference",
                found=f"{volume.shape} and {reference.shape}",
                remedy="resample it to the grid of the reference",
            )


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box around a mask: nothing outside of it matters."""
    found = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        along = np.flatnonzero(mask.any(axes))
        if not len(along):
            return (slice(0, 1),) * 3
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(found)


def _uptake_errors(
    pet: np.ndarray, prediction: np.ndarray, reference: np.ndarray, grid: Grid
) -> dict[str, float]:
    """Return errors of TLG (a missed node has none) and SUVmax (undefined where a mask is empty)."""
    ours, truth = (pet[mask].astype(float) for mask in (prediction, reference))
    both = bool(ours.size and truth.size)
    return {
        "tlg_error": float(ours.sum() - truth.sum()) * grid.voxel_ml,
        "suv_max_error": float(ours.max() - truth.max()) if both else math.nan,
    }
