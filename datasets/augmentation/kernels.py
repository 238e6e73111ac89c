"""The compiled loop of augmentation: an affine walk over image and masks in one pass.

Importing this file needs numba (`pip install hilum[fast]`). Without it, or on a GPU,
`augmentation_spatial` gives the same numbers in plain torch, two to four times slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import no_type_check

import numba
import numpy as np

# Machine code stays on disk for the next process; the lock of the interpreter is given up, so
# that threads run side by side.
_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


def walk(
    image: np.ndarray,
    marks: np.ndarray,
    matrix: np.ndarray,
    shape: Sequence[int],
    fill: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Resample an image linearly, and masks to the nearest voxel.

    Args:
        image: float32 `[C, D, H, W]`.
        marks: uint8 masks `[K, D, H, W]`.
        matrix: `[3, 4]`, from an index of the result to an index of the source.
        shape: Sides of the result.
        fill: Value of each channel beyond the source; masks get 0.

    Returns:
        float32 `[C, *shape]` and uint8 `[K, *shape]`.
    """
    moved = np.empty((len(image), *shape), np.float32)
    picked = np.empty((len(marks), *shape), np.uint8)
    _walk(
        np.ascontiguousarray(image).reshape(len(image), math.prod(image.shape[1:])),
        np.ascontiguousarray(marks).reshape(len(marks), math.prod(marks.shape[1:])),
        np.array(image.shape[1:], np.int64),
        np.ascontiguousarray(matrix, np.float64),
        np.array(fill, np.float32),
        moved,
        picked,
    )
    return moved, picked


@_compiled
@no_type_check
def _walk(image, marks, side, matrix, fill, moved, picked):
    for d in range(moved.shape[1]):
        for h in range(moved.shape[2]):
            start = matrix[:, 0] * d + matrix[:, 1] * h + matrix[:, 3]
            low, high = _span(start, matrix[:, 2], side, moved.shape[3])
            for w in range(low):
                _at_edge(image, side, start, matrix, w, fill, moved[:, d, h, w])
            _inside(image, side, start, matrix, low, high, moved[:, d, h])
            for w in range(high, moved.shape[3]):
                _at_edge(image, side, start, matrix, w, fill, moved[:, d, h, w])
            _nearest(marks, side, start, matrix, picked[:, d, h])


@_compiled
@no_type_check
def _span(start, step, side, count):
    """Return which part of a row has all eight neighbours inside the source."""
    low, high = 0, count
    for axis in range(3):
        # A thousandth of a voxel guards against rounding in single precision.
        first, last = start[axis] - 1e-3, side[axis] - 1.001 - start[axis]
        if step[axis] > 1e-9:
            low = max(low, math.ceil(-first / step[axis]))
            high = min(high, math.floor(last / step[axis]) + 1)
        elif step[axis] < -1e-9:
            low = max(low, math.ceil(last / step[axis]))
            high = min(high, math.floor(-first / step[axis]) + 1)
        elif first < 0 or last < 0:
            high = 0
    low = min(low, count)
    return low, max(high, low)


@_compiled
@no_type_check
def _inside(image, side, start, matrix, low, high, rows):
    x0, y0, z0 = np.float32(start[0]), np.float32(start[1]), np.float32(start[2])
    ax, ay, az = np.float32(matrix[0, 2]), np.float32(matrix[1, 2]), np.float32(matrix[2, 2])
    # Unsigned, or each index would be tested for being negative.
    across, down, one = np.uint32(side[1] * side[2]), np.uint32(side[2]), np.uint32(1)
    for w in range(low, high):
        step = np.float32(w)
        x, y, z = x0 + ax * step, y0 + ay * step, z0 + az * step
        i, j, k = np.int32(x), np.int32(y), np.int32(z)
        fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        p = np.uint32(i) * across + np.uint32(j) * down + np.uint32(k)
        q, r = p + down, p + across
        s = r + down
        for channel in range(np.uint32(len(image))):
            source = image[channel]
            a = source[p] + fz * (source[p + one] - source[p])
            b = source[q] + fz * (source[q + one] - source[q])
            c = source[r] + fz * (source[r + one] - source[r])
            d = source[s] + fz * (source[s + one] - source[s])
            a += fy * (b - a)
            c += fy * (d - c)
            rows[channel, w] = a + fx * (c - a)


@_compiled
@no_type_check
def _at_edge(image, side, start, matrix, w, fill, result):
    """Write a point some of whose neighbours are missing; `fill` stands for them."""
    x, y, z = (
        start[0] + matrix[0, 2] * w,
        start[1] + matrix[1, 2] * w,
        start[2] + matrix[2, 2] * w,
    )
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    for channel in range(len(image)):
        total = 0.0
        for a in range(i, i + 2):
            for b in range(j, j + 2):
                for c in range(k, k + 2):
                    value = fill[channel]
                    if 0 <= a < side[0] and 0 <= b < side[1] and 0 <= c < side[2]:
                        value = image[channel, (a * side[1] + b) * side[2] + c]
                    total += value * (1 - abs(x - a)) * (1 - abs(y - b)) * (1 - abs(z - c))
        result[channel] = total


@_compiled
@no_type_check
def _nearest(marks, side, start, matrix, rows):
    x0, y0, z0 = start[0] + 0.5, start[1] + 0.5, start[2] + 0.5
    for w in range(rows.shape[1]):
        x, y, z = x0 + matrix[0, 2] * w, y0 + matrix[1, 2] * w, z0 + matrix[2, 2] * w
        within = 0 <= x < side[0] and 0 <= y < side[1] and 0 <= z < side[2]
        place = (np.uint32(x) * side[1] + np.uint32(y)) * side[2] + np.uint32(z) if within else 0
        for mark in range(len(marks)):
            rows[mark, w] = marks[mark, place] if within else 0
