"""Mean and standard deviation of a whole volume, for networks that see its z-score."""

from __future__ import annotations

import math

import numpy as np

from hilum.core.input_scale import LEAST_DEVIATION

from .compressed import Voxels

VOXELS_AT_ONCE = 2**24


def moments(images: Voxels, regions: Voxels, row: int) -> tuple[float, float]:
    """Return mean and deviation of a channel over its field of view, in physical units.

    As nnU-Net's `ZScoreNormalization` with the field of view as its mask: the deviation is that of
    the population, and at least 1e-8. Read slab by slab, so memory does not grow with the volume.

    Args:
        images: `[M, D, H, W]` of a prepared case.
        regions: uint8 `[D, H, W]`, bit 1+i field of view of channel i.
        row: Number of the channel.

    Returns:
        0 and 1 if nothing lies in the field of view.
    """
    depth, height, width = images.shape[1:]
    step = max(VOXELS_AT_ONCE // max(height * width, 1), 1)
    count, mean, squares = 0, 0.0, 0.0
    for start in range(0, depth, step):
        rows = slice(start, start + step)
        inside = (np.asarray(regions[rows]) >> (row + 1)) & 1
        values = np.asarray(images[row, rows])[inside.astype(bool)].astype(np.float64)
        if not values.size:
            continue
        # Chan et al., 1983: means of parts are joined without squares of large numbers.
        own = float(values.mean())
        total = count + values.size
        squares += float(((values - own) ** 2).sum())
        squares += (own - mean) ** 2 * count * values.size / total
        mean += (own - mean) * values.size / total
        count = total
    if not count:
        return 0.0, 1.0
    return mean, max(math.sqrt(squares / count), LEAST_DEVIATION)
