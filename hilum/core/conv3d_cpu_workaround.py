"""A quicker way through small convolutions of one patch in float32 on a processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LIMIT = 20_480
"""Channels x depth x height up to which torch does not ask oneDNN for a batch of one."""


@contextmanager
def halved_small_maps(module: nn.Module) -> Iterator[None]:
    """Convolve small maps of one patch as a batch of two halves of its depth, inside the block.

    In float32, torch leaves oneDNN for a convolution of its own if the batch is one and channels x
    depth x height are at most 20,480 (`use_mkldnn` in its `Convolution.cpp`): 1.5 to 10 times
    slower, forward and backward, for maps of 4 to 32 voxels a side (`benchmarks/one_patch.py`). Two
    halves that overlap by what the kernel reaches are a batch of two, which oneDNN takes. Values
    agree but for rounding, as any two algorithms of a convolution do; names of parameters and
    everything else stay as they are.

    Nothing happens to other batches, formats and devices.
    """
    found: list[nn.Conv3d] = [part for part in module.modules() if _concerned(part)]
    try:
        for part in found:
            part.forward = partial(_forward, part)  # pyright: ignore[reportAttributeAccessIssue]
        yield
    finally:
        for part in found:
            part.__dict__.pop("forward", None)


def _concerned(part: nn.Module) -> TypeGuard[nn.Conv3d]:
    """Tell whether torch leaves oneDNN at a layer, and nobody has changed its forward pass."""
    return (
        type(part) is nn.Conv3d
        and "forward" not in part.__dict__
        and part.stride == part.dilation == (1, 1, 1)
        and part.groups == 1
        and part.padding_mode == "zeros"
        and not isinstance(part.padding, str)
        and min(part.kernel_size[1:]) <= 3
    )


def _forward(conv: nn.Conv3d, image: Tensor) -> Tensor:
    if not _slow(image):
        return nn.Conv3d.forward(conv, image)
    depth, height, width = (int(side) for side in conv.padding)
    kernel = conv.kernel_size[0]
    rows = image.shape[2] + 2 * depth - kernel + 1
    if rows < 2:
        return nn.Conv3d.forward(conv, image)
    padded = F.pad(image, (0, 0, 0, 0, depth, depth)) if depth else image
    half = (rows + 1) // 2  # an odd number of rows: both halves have the middle one
    reach = half + kernel - 1
    two = torch.cat([padded[:, :, :reach], padded[:, :, -reach:]])
    found = F.conv3d(two, conv.weight, conv.bias, 1, (0, height, width))
    return torch.cat([found[:1], found[1:, :, 2 * half - rows :]], 2)


def _slow(image: Tensor) -> bool:
    return (
        image.device.type == "cpu"
        and image.dtype == torch.float32
        and image.ndim == 5
        and image.shape[0] == 1
        and image.shape[1] * image.shape[2] * image.shape[3] <= LIMIT
        and not torch.is_autocast_enabled("cpu")
    )
