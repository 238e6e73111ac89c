"""Uptake of one node, measured on the grid that the PET was acquired on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy import ndimage

from hilum.core.geometry import Grid

from .instances import Box

PEAK_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
"""Radius of a sphere of 1 ml."""


class Uptake(TypedDict):
    """Columns of a node that PET gives; see `node_record.NodeRecord`."""

    suv_max: float
    suv_mean: float
    suv_peak: float
    suv_peak_local: float
    mtv_ml: float
    tlg: float
    mtv_41pct_ml: float
    mtv_suv2_5_ml: float
    mtv_suv4_ml: float


def uptake_of_node(
    inside: np.ndarray, box: Box, grid: Grid, pet: np.ndarray, pet_grid: Grid
) -> Uptake | None:
    """Return the uptake of a node; nothing if no voxel of the PET lies near it.

    The mask goes to the PET, since interpolating the PET would lower its extremes: the voxels of
    the PET whose centres lie in the node count. A node so small that it holds no centre has the
    voxels of the PET that most of it lies in. Volumes are fractions of the node's own volume.

    SUVpeak is the highest mean over spheres of 1 ml centred in voxels of the node, over the voxels
    of the PET that exist; the local SUVpeak is that around the voxel of the SUVmax, of several such
    voxels the highest.

    Source:
        Zwanenburg et al., Radiology 2020 (IBSI), global and local intensity peak; Wahl et al., J
        Nucl Med 2009 (PERCIST 1.0).

    Args:
        inside: Booleans of the node, cut to its box.
        box: Where that lies on `grid`.
        grid: Of the mask.
        pet: SUV `[D, H, W]`.
        pet_grid: Its grid.
    """
    index = _on_pet(inside, box, grid, pet_grid)
    if not len(index):
        return None
    values = pet[tuple(index.T)].astype(float)
    volume, top = float(np.count_nonzero(inside)) * grid.voxel_ml, float(values.max())
    mean = float(values.mean())
    peak, local = _peaks(pet, index, pet_grid.spacing)
    return Uptake(
        suv_max=top,
        suv_mean=mean,
        suv_peak=peak,
        suv_peak_local=local,
        mtv_ml=volume,
        tlg=mean * volume,
        mtv_41pct_ml=float((values >= 0.41 * top).mean()) * volume,
        mtv_suv2_5_ml=float((values >= 2.5).mean()) * volume,
        mtv_suv4_ml=float((values >= 4).mean()) * volume,
    )


def highest_uptake(
    inside: np.ndarray, box: Box, grid: Grid, pet: np.ndarray, pet_grid: Grid
) -> float | None:
    """Return the SUVmax alone, as `uptake_of_node` does."""
    index = _on_pet(inside, box, grid, pet_grid)
    return float(pet[tuple(index.T)].max()) if len(index) else None


def _on_pet(inside: np.ndarray, box: Box, grid: Grid, pet_grid: Grid) -> np.ndarray:
    """Return the indices `[N, 3]` of the voxels of the PET that make up a node."""
    start = np.array([s.start for s in box])
    if pet_grid is grid:
        return np.argwhere(inside) + start
    sides = [(s.start - 0.5, s.stop - 0.5) for s in box]
    corners = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3)
    reach = pet_grid.to_index(grid.to_world(corners))
    low = np.maximum(np.ceil(reach.min(0) - 1e-6), 0).astype(int)
    high = np.minimum(np.floor(reach.max(0) + 1e-6) + 1, pet_grid.shape).astype(int)
    if (high > low).all():
        steps = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
        centres = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
        at = grid.to_index(pet_grid.to_world(centres)) - start
        # A centre on the border of two voxels belongs to the upper one, whatever rounding did.
        at = np.floor(at + 0.5 + 1e-6).astype(int)
        within = np.asarray(((at >= 0) & (at < inside.shape)).all(1))
        within[within] = inside[tuple(at[within].T)]
        if within.any():
            return centres[within]
    # No centre lies in the node: the voxels that hold most of it.
    places = pet_grid.to_index(grid.to_world(np.argwhere(inside) + start))
    nearest, count = np.unique(np.floor(places + 0.5).astype(int), axis=0, return_counts=True)
    there = ((nearest >= 0) & (nearest < pet_grid.shape)).all(1)
    nearest, count = nearest[there], count[there]
    return nearest[count == count.max()] if len(count) else nearest


def _peaks(pet: np.ndarray, index: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Return the highest mean over spheres of 1 ml around voxels, and around the hottest of them.

    Args:
        pet: `[D, H, W]`.
        index: Of the voxels, `[N, 3]`.
        spacing: mm.
    """
    reach = np.array([int(PEAK_MM / s + 1e-9) for s in spacing])
    steps = np.meshgrid(
        *[np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)], indexing="ij"
    )
    ball = np.sum(np.square(steps), 0) <= PEAK_MM**2 + 1e-9
    low = np.maximum(index.min(0) - reach, 0)
    high = np.minimum(index.max(0) + reach + 1, pet.shape)
    cut = pet[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(float)
    weight = ball.astype(float)
    total = ndimage.correlate(cut, weight, mode="constant")
    there = ndimage.correlate(np.ones_like(cut), weight, mode="constant")
    at = tuple((index - low).T)
    means, values = total[at] / there[at], cut[at]
    return float(means.max()), float(means[values == values.max()].max())
