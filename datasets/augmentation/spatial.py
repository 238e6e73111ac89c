"""Move patches: rotation, scale, mirror, shift and crop as one 3 x 4 matrix, applied once.

A matrix maps an index of the result to an index of the source. The cheapest exact way is chosen by
what the matrix is: a pure crop or mirror is a slice, an axis-aligned one is a small matrix product
per axis, and only a rotation samples point by point.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hilum.core.geometry import IntTriple, Triple, nearest_index

Matrix = NDArray[np.float64]


class Pose(NamedTuple):
    """How a sample lies in the patient.

    Attributes:
        angles: Degrees about the depth, height and width axes, applied in this order.
        zoom: Factor that structures grow by.
        mirror: Axes to flip.
    """

    angles: Triple = (0.0, 0.0, 0.0)
    zoom: float = 1.0
    mirror: tuple[bool, bool, bool] = (False, False, False)


def matrix_of(
    pose: Pose,
    source: IntTriple,
    shape: IntTriple,
    spacing: Triple,
    shift_mm: Sequence[float] = (),
    tilt: Triple = (0.0, 0.0, 0.0),
) -> Matrix:
    """Return the 3 x 4 matrix from a patch of sides `shape` to the box that it is cut from.

    Rotation and scale act in mm about the middle, so anisotropic voxels do not shear.

    Args:
        pose: Rotation, scale and mirror of the patient.
        source: Sides of the box.
        shape: Sides of the patch.
        spacing: mm per voxel.
        shift_mm: Extra displacement of the content along the axes of the box, before `pose`.
        tilt: Extra turn of the content about the middle, in degrees, before the displacement.
    """
    turn = rotation(tilt) @ rotation(pose.angles) / pose.zoom
    turn = turn * np.where(pose.mirror, -1.0, 1.0)
    size = np.array(spacing)
    linear = turn * size[None, :] / size[:, None]
    middle = (np.array(shape) - 1) / 2
    # The middle of the box, whole voxels from its edge, so that a plain crop is exact.
    centre = (np.array(source) - shape) // 2 + middle
    offset = centre - linear @ middle
    if len(shift_mm):
        offset = offset - np.asarray(shift_mm) / size
    return np.concatenate([linear, offset[:, None]], 1)


def rotation(degrees: Triple) -> Matrix:
    """Return the rotation about depth, then height, then width."""
    result = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        if angle:
            one, two = (i for i in range(3) if i != axis)
            turn = np.eye(3)
            turn[one, one] = turn[two, two] = np.cos(angle)
            turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
            result = turn @ result
    return result


def reach(pose: Pose, shape: IntTriple, spacing: Triple) -> NDArray[np.float64]:
    """Return the sides, in voxels, of the box that a patch in this pose is cut from."""
    linear = matrix_of(pose, shape, shape, spacing)[:, :3]
    return np.abs(linear) @ (np.array(shape) - 1) + 1


def move(
    image: Tensor, marks: Sequence[Tensor], matrix: Matrix, shape: IntTriple, fill: Sequence[float]
) -> tuple[Tensor, list[Tensor]]:
    """Resample an image (linearly) and masks (nearest) by one matrix.

    Args:
        image: `[C, D, H, W]`.
        marks: Up to two uint8 masks `[D, H, W]`; 0 comes in from beyond the box.
        matrix: From an index of the result to an index of the source.
        shape: Sides of the result.
        fill: Value of each channel beyond the box.

    Returns:
        float32 `[C, *shape]` and the masks of sides `shape`; they may share the input's memory.
    """
    linear, offset = matrix[:, :3], matrix[:, 3]
    diagonal = np.diag(linear)
    turned = bool(np.count_nonzero(np.round(linear - np.diag(diagonal), 9)))
    source = image.shape[1:]
    slices = None if turned else _as_slices(diagonal, offset, shape, source)
    if slices is not None:
        flips = [axis - 3 for axis in range(3) if diagonal[axis] < 0]
        found = [image[:, *slices], *(mark[slices] for mark in marks)]
        found = [x.flip(flips) for x in found] if flips else found
        return found[0].float(), found[1:]
    kernels = compiled() if image.device.type == "cpu" else None
    if kernels is not None:
        levels = list(fill) or [0.0] * len(image)
        stacked = np.stack([mark.numpy() for mark in marks]) if marks else np.zeros((0, *source))
        moved, picked = kernels.walk(
            image.float().numpy(), stacked.astype(np.uint8, copy=False), matrix, shape, levels
        )
        return torch.from_numpy(moved), [torch.from_numpy(mark) for mark in picked]
    if turned:
        return _by_points(image, marks, matrix, shape, fill)
    weights = [
        interpolation(shape[axis], source[axis], diagonal[axis], offset[axis]) for axis in range(3)
    ]
    for axis in range(3):
        marks = [_nearest(m, shape[axis], diagonal[axis], offset[axis], axis) for m in marks]
    return separable(image, weights, fill), list(marks)


@cache
def compiled() -> ModuleType | None:
    """Return the compiled kernels, or nothing where numba is not installed."""
    try:
        from . import kernels as augmentation_kernels
    except ImportError:
        return None
    return augmentation_kernels


def interpolation(n_out: int, n_in: int, scale: float, offset: float) -> Tensor:
    """Return the matrix `[n_out, n_in]` of linear interpolation at `scale * i + offset`.

    A row's sum falls below 1 where the point lies beyond the first or last voxel.
    """
    place = np.arange(n_out) * scale + offset
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(n_in)), 0, None)
    return torch.from_numpy(weights.astype(np.float32))


def gaussian(n: int, fwhm: float) -> Tensor:
    """Return the matrix `[n, n]` of a Gaussian blur; the rows sum to 1, also at the edges.

    Args:
        n: Side in voxels.
        fwhm: Full width at half maximum, in voxels.
    """
    sigma = max(fwhm / 2.3548, 1e-3)
    distance = np.arange(n)[:, None] - np.arange(n)
    weights = np.exp(-0.5 * np.minimum((distance / sigma) ** 2, 100))
    weights[weights < 1e-4] = 0
    return torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def coarse(n: int, zoom: float) -> Tensor:
    """Return the matrix `[n, n]` of a scan with fewer voxels: averaged, then interpolated back.

    Args:
        n: Side in voxels.
        zoom: Fraction of the voxels along an axis that is left, in (0, 1].
    """
    few = max(round(n * zoom), 1)
    if few == n:
        return torch.from_numpy(np.eye(n, dtype=np.float32))
    edges = np.linspace(0, n, few + 1)
    low, high = edges[:-1, None], edges[1:, None]
    voxel = np.arange(n)
    down = np.clip(np.minimum(high, voxel + 1) - np.maximum(low, voxel), 0, None)
    down /= down.sum(1, keepdims=True)
    place = np.clip((voxel + 0.5) * few / n - 0.5, 0, few - 1)
    up = np.clip(1 - np.abs(place[:, None] - np.arange(few)), 0, None)
    return torch.from_numpy((up @ down).astype(np.float32))


def separable(image: Tensor, weights: Sequence[Tensor], fill: Sequence[float] = ()) -> Tensor:
    """Apply one matrix per axis to `[C, D, H, W]`; what a row lacks to 1 comes from `fill`."""
    # Columns of zeros cost as much as others: read only what counts.
    used = [_used(matrix) for matrix in weights]
    x = image[:, *used].float()
    d, h, w = (
        m[:, part].to(x.device, non_blocking=True) for m, part in zip(weights, used, strict=True)
    )
    # Reduced precision would round HU and SUV; three small products cost nothing in full.
    with torch.autocast(x.device.type, enabled=False):
        x = torch.matmul(d, x.flatten(2)).unflatten(2, x.shape[2:])
        x = torch.matmul(h, x) @ w.T
    if len(fill):
        sums = [matrix.numpy().sum(1) for matrix in weights]
        if min(float(total.min()) for total in sums) < 1 - 1e-6:
            sd, sh, sw = (_on(total, image.device) for total in sums)
            lack = 1 - sd[:, None, None] * sh[:, None] * sw
            x += lack * _levels(fill, x.device)
    return x


def _levels(fill: Sequence[float], device: torch.device) -> Tensor:
    """Return a value per channel, `[C, 1, 1, 1]`, without waiting for the device."""
    levels = torch.tensor(list(fill), dtype=torch.float32)
    return levels.to(device, non_blocking=True)[:, None, None, None]


def _used(weights: Tensor) -> slice:
    """Return the span of columns that are not all zero."""
    columns = np.flatnonzero(weights.numpy().any(0))
    return slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 1)


def _as_slices(
    diagonal: Matrix, offset: Matrix, shape: IntTriple, source: Sequence[int]
) -> tuple[slice, slice, slice] | None:
    """Return the slices of a whole-voxel crop or mirror that lies inside, else `None`."""
    if not (np.allclose(np.abs(diagonal), 1) and np.allclose(offset, np.round(offset))):
        return None
    ends = diagonal * (np.array(shape) - 1) + offset
    low = nearest_index(np.minimum(offset, ends))
    if (low < 0).any() or (low + shape > np.array(source)).any():
        return None
    d, h, w = (slice(int(a), int(a) + n) for a, n in zip(low, shape, strict=True))
    return d, h, w


def _on(array: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)


def _nearest(mark: Tensor, n: int, scale: float, offset: float, axis: int) -> Tensor:
    """Resample one axis of a mask."""
    place = nearest_index(np.arange(n) * scale + offset)
    side = mark.shape[axis]
    picked = mark.index_select(axis, _on(place.clip(0, side - 1), mark.device))
    outside = (place < 0) | (place >= side)
    if outside.any():
        picked.index_fill_(axis, _on(np.flatnonzero(outside), mark.device), 0)
    return picked


def _by_points(
    image: Tensor, marks: Sequence[Tensor], matrix: Matrix, shape: IntTriple, fill: Sequence[float]
) -> tuple[Tensor, list[Tensor]]:
    """Sample point by point, all masks in one walk."""
    # grid_sample wants width first, and places in [-1, 1] from edge to edge.
    size = np.array(image.shape[1:])
    scaled = matrix * 2 / size[:, None]
    scaled[:, 3] += 1 / size - 1
    grid = torch.empty((1, *shape, 3), device=image.device)
    for row in range(3):
        d, h, w = (
            _on((np.arange(n) * scaled[row, axis]).astype(np.float32), grid.device)
            for axis, n in enumerate(shape)
        )
        first = (d + scaled[row, 3])[:, None] + h
        torch.add(first[:, :, None], w, out=grid[0, ..., 2 - row])
    # Zero comes in from beyond the box, so the fill value becomes zero for the while.
    level = _levels(fill, image.device)
    moved = F.grid_sample((image - level)[None], grid, align_corners=False)[0].add_(level)
    if not marks:
        return moved, []
    # Two bytes in one float: exact, and half the work.
    packed = marks[0].float()
    if len(marks) == 2:
        packed += marks[1].float() * 256
    picked = F.grid_sample(packed[None, None], grid, mode="nearest", align_corners=False)
    whole = picked[0, 0].to(torch.int32)
    return moved, [(whole >> (8 * k)).to(torch.uint8) for k in range(len(marks))]
