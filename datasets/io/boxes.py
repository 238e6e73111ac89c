"""Boxes of voxels: around a mask, where they meet an array, and the bits of regions in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.core.geometry import IntTriple


def box_of(mask: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the first index and the end of the smallest box around a mask (all if it is empty)."""
    if not mask.any():
        return [0, 0, 0], list(mask.shape)
    start, stop = [], []
    for axis in range(3):
        along = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        start.append(int(along[0]))
        stop.append(int(along[-1]) + 1)
    return start, stop


def overlap(
    start: Sequence[int], shape: IntTriple, bound: IntTriple
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of a box inside an array, in the array's and in the box's indices."""
    inner, outer = [], []
    for begin, side, limit in zip(start, shape, bound, strict=True):
        low, high = max(int(begin), 0), max(min(int(begin) + side, limit), max(int(begin), 0))
        inner.append(slice(low, high))
        outer.append(slice(low - int(begin), high - int(begin)))
    return tuple(inner), tuple(outer)


def reorder(regions: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Move each modality's bit to its place in another order of modalities."""
    moved = regions & 1
    for channel, row in enumerate(rows):
        if row >= 0:
            moved |= ((regions >> (row + 1)) & 1) << (channel + 1)
    return moved
