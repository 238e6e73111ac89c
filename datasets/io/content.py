"""A scan's own hash: the same for the same voxels, however their file is named or packed."""

from __future__ import annotations

import hashlib

import numpy as np

from hilum.core.seen import LENGTH

from .nifti import Volume


def hash_of_scan(volume: Volume) -> str:
    """Return a hexadecimal hash of the shape and the values, axes in canonical order.

    Compression, data type, name and the order of axes do not matter; the values do, to the last
    bit of float32.
    """
    grid, axes, flips = volume.grid.canonical()
    array = volume.array.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)]
    found = hashlib.blake2b(str(grid.shape).encode(), digest_size=LENGTH // 2)
    for piece in array:  # a slice at a time: a long scan is not copied
        found.update(np.ascontiguousarray(piece, np.float32).data)
    return found.hexdigest()
