"""Distances between the surfaces of two masks, with a penalty for a mask that is missed."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import KDTree

from hilum.core.geometry import Grid


def surface_metrics(
    prediction: np.ndarray, reference: np.ndarray, grid: Grid, tolerance_mm: float = 2.0
) -> dict[str, float]:
    """Return HD95, ASSD and the normalised surface Dice.

    Surfaces are the mask's voxels with a face neighbour outside of it (or outside of the image);
    distances are between voxel centres in mm. One empty mask gives the diagonal of the image and a
    surface Dice of 0, so that a missed node never improves a mean; two empty masks give NaN
    distances and a surface Dice of 1.

    Source:
        Nikolov et al., arXiv:1809.04430 (surface Dice; there surfaces are weighted by area, here
        voxels count alike, as in MONAI).

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same.
        grid: Where they lie.
        tolerance_mm: Distance that counts as touching.
    """
    key = f"nsd_{tolerance_mm:g}mm"
    if not prediction.any() or not reference.any():
        both = not prediction.any() and not reference.any()
        far = math.nan if both else math.dist((0, 0, 0), grid.extent_mm)
        return {"hd95_mm": far, "assd_mm": far, key: float(both)}
    points = [_surface(mask) * np.asarray(grid.spacing) for mask in (prediction, reference)]
    there, _ = KDTree(points[1]).query(points[0])
    back, _ = KDTree(points[0]).query(points[1])
    within = (there <= tolerance_mm).sum() + (back <= tolerance_mm).sum()
    return {
        "hd95_mm": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd_mm": float((there.mean() + back.mean()) / 2),
        key: float(within / (len(there) + len(back))),
    }


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the indices of the surface voxels: those with a face neighbour outside."""
    padded = np.pad(mask, 1)
    flat = padded.ravel()
    inside = np.flatnonzero(flat)
    _, height, width = padded.shape
    inner = np.ones(len(inside), bool)
    for step in (1, width, height * width):
        inner &= flat[inside - step] & flat[inside + step]
    return np.stack(np.unravel_index(inside[~inner], padded.shape), 1) - 1
