"""Nodes of a batch of labels: numbers, and the cells of the voxels that are nearest to each."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from hilum.core.connected_components import components

from .base import Maps


def numbered(label: Tensor, classes: int) -> Maps:
    """Return the number of each node, int32 `[B, classes - 1, D, H, W]`; 0 is no node.

    A node is a connected component (26 neighbours) of one class in one patch. Numbers run from 1
    on over the whole batch, none twice.

    Args:
        label: uint8 `[B, 1, D, H, W]`; 255 is unknown, and no node.
        classes: Background included.
    """
    return _each(label, classes, cells=False)


def cells(label: Tensor, classes: int) -> Maps:
    """Return the Voronoi cell of each voxel: the number of the nearest node of the class.

    Distances are in voxels. A patch without nodes of the class is one cell, with a number of its
    own; it has no voxel of the class.

    Args:
        label: uint8 `[B, 1, D, H, W]`.
        classes: Background included.

    Returns:
        int32 `[B, classes - 1, D, H, W]`, from 1 on, no number twice.
    """
    return _each(label, classes, cells=True)


def sums(values: Tensor, numbers: Tensor, parts: int) -> Tensor:
    """Return the sum of the values at each number, from 1 on; added in float64.

    Args:
        values: `[B, n, d, h, w]`, or broadcastable to the numbers.
        numbers: int32 `[B, n, d, h, w]`; 0 is left out.
        parts: Largest number, or more.
    """
    place = numbers.flatten().long()
    total = torch.zeros(parts + 1, dtype=torch.float64, device=values.device)
    exact = values.expand_as(numbers).flatten().double()
    return total.index_add(0, place, exact)[1:].to(values.dtype)


def _each(label: Tensor, classes: int, *, cells: bool) -> Maps:
    patches = label[:, 0].cpu().numpy()
    found = np.zeros((len(patches), classes - 1, *patches.shape[1:]), np.int32)
    last = 0
    for row, patch in zip(found, patches, strict=True):
        for number, place in enumerate(row, 1):
            nodes, count = components(patch == number, 26)
            if cells:
                nodes, count = _voronoi(nodes, count), max(count, 1)
            place[:] = np.where(nodes > 0, nodes + last, 0)
            last += count
    return Maps(torch.from_numpy(found).to(label.device), last)


def _voronoi(nodes: np.ndarray, count: int) -> np.ndarray:
    if count < 2:
        return np.ones_like(nodes)
    nearest = ndimage.distance_transform_edt(
        nodes == 0, return_distances=False, return_indices=True
    )
    return nodes[tuple(nearest)]  # pyright: ignore[reportArgumentType]
