"""Size and shape of masks, and the same of real lymph nodes to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Grid

from .table import short_axis

REAL: dict[str, tuple[float, float, float]] = {
    "short_axis_mm": (10.4, 15.2, 27.8),
    "volume_ml": (0.84, 2.93, 18.8),
    "elongation": (1.30, 1.86, 3.24),
    "solidity": (0.76, 0.88, 0.94),
}
"""5th, 50th and 95th percentile of 822 real enlarged nodes, short axis of 10 mm or more.

Source:
    Measured on the 932 public masks of NIH CT Lymph Nodes: 557 abdominal nodes of 85 and 375
    mediastinal ones of 90 patients (Roth et al., "A New 2.5D Representation for Lymph Node
    Detection Using Random Sets of Deep Convolutional Neural Network Observations", MICCAI 2014,
    doi:10.1007/978-3-319-10404-1_65).
"""

REAL_LONG_SHARE = 0.41
"""Fraction of the real nodes whose elongation is above 2."""

ENLARGED_MM = 10.0
"""Least short axis of the nodes that were measured."""

_LEAST_VOXELS = 20
"""Smaller masks have no shape worth measuring."""


@dataclass(frozen=True)
class ShapeRow:
    """Measures of one mask.

    Attributes:
        short_axis_mm: RECIST short axis.
        volume_ml: Of its voxels.
        elongation: Longest over shortest axis of the ellipsoid of the same second moments.
        solidity: Volume over that ellipsoid's, 1 for an ellipsoid, less for a rough, bent or
            lobulated mask.
    """

    short_axis_mm: float
    volume_ml: float
    elongation: float
    solidity: float


def measure(mask: NDArray[np.bool_], grid: Grid) -> ShapeRow | None:
    """Measure one node `[D, H, W]`; nothing if it has too few voxels to have a shape.

    A voxel's own extent (its side squared over 12) is a part of each second moment.
    """
    index = np.argwhere(mask)
    if len(index) < _LEAST_VOXELS:
        return None
    spacing = np.asarray(grid.spacing)
    covariance = np.cov((index * spacing).T, bias=True) + np.diag(spacing**2 / 12)
    half_axes = np.sqrt(5 * np.linalg.eigvalsh(covariance))
    volume = len(index) * grid.voxel_ml
    ellipsoid = 4 / 3 * np.pi * float(np.prod(half_axes)) / 1000
    return ShapeRow(
        short_axis(mask, grid), volume, float(half_axes[2] / half_axes[0]), volume / ellipsoid
    )


def percentiles(rows: list[ShapeRow]) -> dict[str, tuple[float, float, float]]:
    """Return the 5th, 50th and 95th percentile of each measure."""
    return {
        name: tuple(np.percentile([getattr(row, name) for row in rows], (5, 50, 95)).tolist())
        for name in REAL
    }
