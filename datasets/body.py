"""The body mask: where the patient is, so that air and table do not count."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.components import components
from ..core.geometry import Grid
from .resampling import resample

COARSE_MM = 6.0
LEAST_ML = 50.0
"""Components smaller than this are table, tubes or noise."""


def body_mask(volumes: dict[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Return booleans `[D, H, W]`: inside the patient, lungs and airways included.

    Found on a coarse grid from the CT (above -400 HU), else from the first other modality (above a
    tenth of its 99th percentile). Several parts, such as two legs, are kept; a thin table is opened
    away. If nothing is found, everything counts as body.

    Args:
        volumes: Physical values of each modality on `grid`.
        grid: Their grid.
    """
    name = "ct" if "ct" in volumes else next(iter(volumes))
    spacing = tuple(max(s, COARSE_MM) for s in grid.spacing)
    coarse_grid = grid.with_spacing((spacing[0], spacing[1], spacing[2]))
    coarse = resample(volumes[name], grid, coarse_grid, fill=float(volumes[name].min()))
    threshold = -400.0 if name == "ct" else float(np.percentile(coarse, 99)) * 0.1
    mask = _clean(coarse > threshold, coarse_grid)
    if not mask.any():
        return np.ones(grid.shape, bool)
    fine = resample(mask.astype(np.float32), coarse_grid, grid, antialias=False)
    return fine > 0.5


def _clean(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Open away thin things, keep large parts, fill holes slice by slice."""
    opened = ndimage.binary_opening(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    labels, count = components(opened, 6)
    if not count:
        return opened
    sizes = np.bincount(labels.ravel()) * grid.voxel_ml
    sizes[0] = 0
    keep = sizes >= min(LEAST_ML, sizes.max())
    body = ndimage.binary_dilation(keep[labels], mask=mask | keep[labels])
    # Axial slices: lungs are closed there, even where a scan cuts them at its ends.
    return np.stack([np.asarray(ndimage.binary_fill_holes(part)) for part in body])
