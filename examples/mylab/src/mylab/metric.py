"""The ratio of two volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hilum.core.geometry import Grid
from hilum.evaluation.metrics.table import Metric


def volume_ratio(
    prediction: np.ndarray, reference: np.ndarray, grid: Grid, volumes: Mapping[str, np.ndarray]
) -> float:
    """Return the predicted volume over the reference volume."""
    truth = np.count_nonzero(reference)
    return np.count_nonzero(prediction) / truth if truth else math.nan


VOLUME_RATIO = Metric(
    "Volume ratio",
    "predicted volume / reference volume",
    "no reference: undefined",
    "neither",
    measure=volume_ratio,
)
