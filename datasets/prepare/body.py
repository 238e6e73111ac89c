"""The body mask: where the patient is, so that air and table do not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.geometry import Grid

from ..io.boxes import box_of
from ..io.nifti import Volume
from ..io.resampling import resample, slabs

COARSE_MM = 6.0
LEAST_ML = 50.0
"""Components smaller than this are table, tubes or noise."""


class Body(NamedTuple):
    """The patient on a coarse grid.

    Attributes:
        mask: Booleans `[D, H, W]`.
        grid: Where they lie.
    """

    mask: np.ndarray
    grid: Grid

    def on(self, target: Grid) -> np.ndarray:
        """Return booleans on a finer grid of the same region."""
        inside = np.ones(target.shape, bool)
        if not self.mask.all():
            coarse = self.mask.astype(np.float32)
            for rows, slab in slabs(target):
                inside[rows] = resample(coarse, self.grid, slab, antialias=False) > 0.5
        return inside

    def box(self, target: Grid) -> tuple[list[int], list[int]]:
        """Return the box around the patient on a finer grid, without a mask of all of it."""
        low, high = list(target.shape), [0, 0, 0]
        for rows, slab in slabs(target):
            part = self.on(slab)
            if part.any():
                start, stop = box_of(part)
                shift = (rows.start, 0, 0)
                low = [min(a, b + s) for a, b, s in zip(low, start, shift, strict=True)]
                high = [max(a, b + s) for a, b, s in zip(high, stop, shift, strict=True)]
        return (low, high) if high[0] else ([0, 0, 0], list(target.shape))


def body_mask(volumes: dict[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Return booleans `[D, H, W]`: inside the patient; see `find_body`.

    Args:
        volumes: Physical values of each modality on `grid`.
        grid: Their grid.
    """
    return find_body({name: Volume(array, grid) for name, array in volumes.items()}, grid).on(grid)


def find_body(volumes: Mapping[str, Volume], target: Grid) -> Body:
    """Find the patient, lungs and airways included.

    Found on a coarse grid from the CT (above -400 HU), else from the first other modality (above a
    tenth of its 99th percentile). Several parts, such as two legs, are kept; a thin table is opened
    away. If nothing is found, everything counts as body.

    Args:
        volumes: Physical values of each modality, each on its own grid.
        target: The grid whose region counts.
    """
    name = "ct" if "ct" in volumes else next(iter(volumes))
    spacing = tuple(max(s, COARSE_MM) for s in target.spacing)
    grid = target.with_spacing((spacing[0], spacing[1], spacing[2]))
    array, own = volumes[name]
    coarse = resample(array, own, grid, fill=float(array.min()))
    threshold = -400.0 if name == "ct" else float(np.percentile(coarse, 99)) * 0.1
    mask = _clean(coarse > threshold, grid)
    return Body(mask if mask.any() else np.ones_like(mask), grid)


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
