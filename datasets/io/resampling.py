"""Bring an array from one grid to another through the patient's coordinates.

Grids whose axes run along each other (nearly every pair of a scanner) are resampled by one small
matrix product per axis; oblique pairs point by point. Down-sampling averages, so that nothing
aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal

import numpy as np
from scipy import ndimage

from hilum.core.geometry import Grid, IntTriple, nearest_index

from .scratch import empty

SLAB = 2**24
"""Voxels of a target that are made at once."""

BORDER = 12
"""Voxels by which scipy continues an image before its filter; what is beyond counts 1e-7."""


def resample(
    array: np.ndarray,
    grid: Grid,
    target: Grid,
    *,
    order: Literal[0, 1, 3] = 1,
    fill: float = 0.0,
    antialias: bool = True,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return `array` on `target`.

    Large targets are made in slabs of slices, each from the part of the source that it needs: the
    memory next to source and result stays the same however long the scan.

    Args:
        array: `[D, H, W]` on `grid`.
        grid: Where it is.
        target: Where it should be.
        order: 0 for labels (nearest), 1 for images (linear, widened to the target's voxel when
            that is larger), 3 for cubic B-splines (sharper; may ring next to metal).
        fill: Value outside of the source's box.
        antialias: Whether to widen.
        out: Gets the result, in its own type; may be a memory map.

    Returns:
        float32 for images; the same type as `array` for labels; `out` if given.
    """
    if out is None:
        out = empty(target.shape, array.dtype if order == 0 else np.float32)
    axes = _aligned(target.index_map(grid), target.shape)
    for rows, slab in slabs(target):
        out[rows] = _slab(array, grid, slab, axes, order, fill, antialias)
    return out


def slabs(target: Grid) -> Iterator[tuple[slice, Grid]]:
    """Yield parts of a grid that are small enough to work on: their slices, and their grid."""
    depth, height, width = target.shape
    rows = max(SLAB // max(height * width, 1), 1)
    for first in range(0, depth, rows):
        stop = min(first + rows, depth)
        yield slice(first, stop), target.crop((first, 0, 0), (stop - first, height, width))


def _slab(
    array: np.ndarray,
    grid: Grid,
    target: Grid,
    axes: IntTriple | None,
    order: Literal[0, 1, 3],
    fill: float,
    antialias: bool,
) -> np.ndarray:
    matrix = target.index_map(grid)
    box = _needed(matrix, target.shape, grid.shape)
    if any(side.stop <= side.start for side in box):
        return np.full(target.shape, fill, array.dtype if order == 0 else np.float32)
    array = array[box]
    matrix = matrix.copy()
    matrix[:3, 3] -= [side.start for side in box]
    if axes is None:
        return _by_points(array, matrix, target, order, fill, antialias)
    moved = array.transpose(axes)
    scale = [matrix[axis, out] for out, axis in enumerate(axes)]
    offset = [matrix[axis, 3] for axis in axes]
    if order == 0:
        return _nearest(moved, scale, offset, target.shape, fill)
    result = moved.astype(np.float32, copy=False)
    outside = []
    for out in range(3):
        make = _spline if order == 3 else _weights
        weights, inside = make(
            target.shape[out], result.shape[out], scale[out], offset[out], antialias
        )
        result = np.moveaxis(np.tensordot(weights, result, (1, out)), 0, out)
        outside.append(~inside)
    result = np.ascontiguousarray(result, np.float32)
    for axis, missing in enumerate(outside):
        index: list[slice | np.ndarray] = [slice(None)] * 3
        index[axis] = missing
        result[tuple(index)] = fill
    return result


def _needed(matrix: np.ndarray, shape: IntTriple, source: IntTriple) -> tuple[slice, ...]:
    """Return the box of the source that a box of targets is made from, and a margin.

    The filter of the splines and the Gaussian fade to nothing within it.
    """
    ends = np.array(list(product(*((0, n - 1) for n in shape))))
    places = ends @ matrix[:3, :3].T + matrix[:3, 3]
    margin = 20 + 4 * np.abs(matrix[:3, :3]).sum(1)
    low = np.floor(places.min(0) - margin).astype(int)
    high = np.ceil(places.max(0) + margin).astype(int) + 1
    return tuple(
        slice(int(np.clip(a, 0, n)), int(np.clip(b, 0, n)))
        for a, b, n in zip(low, high, source, strict=True)
    )


def field_of_view(grid: Grid, target: Grid) -> np.ndarray:
    """Return booleans `[D, H, W]` on `target`: inside the box that `grid` covers."""
    matrix = target.index_map(grid)
    inside = np.ones(target.shape, bool)
    for row, side in enumerate(grid.shape):
        parts = [matrix[row, axis] * np.arange(n) for axis, n in enumerate(target.shape)]
        plane = parts[1][:, None] + parts[2] + matrix[row, 3]
        for index, along in enumerate(parts[0]):
            place = plane + along
            inside[index] &= (place >= -0.5) & (place <= side - 0.5)
    return inside


def _aligned(matrix: np.ndarray, shape: IntTriple) -> IntTriple | None:
    """Return the source axis of each target axis, or `None` if the grids are oblique.

    A tilt counts as none if it moves no voxel by a tenth of a source voxel.
    """
    turn = matrix[:3, :3]
    axes = [int(np.argmax(np.abs(turn[:, out]))) for out in range(3)]
    if sorted(axes) != [0, 1, 2]:
        return None
    rest = turn.copy()
    rest[axes, range(3)] = 0
    if (np.abs(rest) @ np.asarray(shape) > 0.1).any():
        return None
    return axes[0], axes[1], axes[2]


def _weights(
    n_out: int, n_in: int, scale: float, offset: float, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix that resamples one axis, and which outputs lie inside the source.

    A triangle as wide as the larger of the two voxels: linear interpolation when up-sampling, a
    weighted mean when down-sampling. At the border the nearest voxel goes on for half a voxel.
    """
    centre = np.arange(n_out) * scale + offset
    inside = (centre >= -0.5) & (centre <= n_in - 0.5)
    place = np.clip(centre, 0, n_in - 1)
    width = max(abs(scale), 1.0) if antialias else 1.0
    distance = np.abs(place[:, None] - np.arange(n_in)) / width
    weights = np.clip(1 - distance, 0, None)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return weights.astype(np.float32), inside


def _spline(
    n_out: int, n_in: int, scale: float, offset: float, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix of cubic B-spline interpolation, and which outputs lie inside the source.

    A row holds the spline's basis at one point times the filter that makes the spline pass through
    the samples: the whole of scipy's order 3, mode `nearest`, as one matrix. When down-sampling,
    the basis is as wide as the target's voxel instead, without the filter, so that nothing aliases.

    Source:
        Unser, "Splines", IEEE Signal Processing Magazine 1999.
    """
    centre = np.arange(n_out) * scale + offset
    inside = (centre >= -0.5) & (centre <= n_in - 0.5)
    if antialias and abs(scale) > 1:
        weights = _basis(np.clip(centre, 0, n_in - 1), n_in, abs(scale))
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32), inside
    # The border voxel goes on beyond it, far enough for the filter to forget what comes then.
    wide = n_in + 2 * BORDER
    weights = _basis(np.clip(centre, -0.5, n_in - 0.5) + BORDER, wide, 1.0)
    weights = weights @ ndimage.spline_filter1d(np.eye(wide), 3, axis=0, mode="mirror")
    result = weights[:, BORDER:-BORDER]
    result[:, 0] += weights[:, :BORDER].sum(1)
    result[:, -1] += weights[:, -BORDER:].sum(1)
    return result.astype(np.float32), inside


def _basis(place: np.ndarray, n_in: int, width: float) -> np.ndarray:
    """Return the cubic B-spline of each sample at each place, mirrored at the border."""
    reach = int(np.ceil(2 * width))
    around = np.floor(place)[:, None].astype(int) + np.arange(-reach, reach + 2)
    far = np.abs(place[:, None] - around) / width
    basis = np.where(far < 1, 2 / 3 - far**2 + far**3 / 2, np.clip(2 - far, 0, None) ** 3 / 6)
    period = max(2 * (n_in - 1), 1)
    index = np.abs(around) % period
    index = np.where(index > n_in - 1, period - index, index)
    weights = np.zeros((len(place), n_in))
    np.add.at(weights, (np.arange(len(place))[:, None], index), basis)
    return weights


def _nearest(
    array: np.ndarray,
    scale: list[float],
    offset: list[float],
    shape: IntTriple,
    fill: float,
) -> np.ndarray:
    picks, inside = [], []
    for out in range(3):
        place = np.arange(shape[out]) * scale[out] + offset[out]
        inside.append((place >= -0.5) & (place <= array.shape[out] - 0.5))
        picks.append(np.clip(nearest_index(place), 0, array.shape[out] - 1))
    result = array[np.ix_(*picks)]
    for axis, keep in enumerate(inside):
        if not keep.all():
            index: list[slice | np.ndarray] = [slice(None)] * 3
            index[axis] = ~keep
            result[tuple(index)] = fill
    return np.ascontiguousarray(result)


def _by_points(
    array: np.ndarray, matrix: np.ndarray, target: Grid, order: int, fill: float, antialias: bool
) -> np.ndarray:
    """Resample between grids that are turned against each other."""
    source = array if order == 0 else array.astype(np.float32)
    if order and antialias:
        # How far one target voxel reaches along each source axis.
        reach = np.sqrt((matrix[:3, :3] ** 2).sum(1))
        sigma = np.sqrt(np.clip(reach**2 - 1, 0, None)) * 0.4
        if sigma.max() > 0.1:
            source = ndimage.gaussian_filter(source, sigma, mode="nearest")
    result = ndimage.affine_transform(
        source,
        matrix[:3, :3],
        matrix[:3, 3],  # pyright: ignore[reportArgumentType]
        output_shape=target.shape,
        order=order,
        mode="nearest",
    )
    source_grid = Grid(array.shape, target.affine @ np.linalg.inv(matrix))  # pyright: ignore[reportArgumentType]
    result[~field_of_view(source_grid, target)] = fill
    return result
