"""Let a convolutional network compute as if hidden places were not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose3d)
NORMS = (nn.InstanceNorm3d,)


@contextmanager
def sparse(network: nn.Module, visible: Tensor) -> Iterator[None]:
    """Keep hidden places at zero after every layer, and out of every norm's statistics.

    A convolution may look across the border of a hidden place, but what it writes there is taken
    away again, so nothing spreads from layer to layer, and no layer learns the mask's shape.

    Args:
        network: With convolutions and instance norms.
        visible: Booleans `[B, 1, D, H, W]`, in blocks that every stride of the network divides.
    """
    handles = []
    for part in network.modules():
        if isinstance(part, CONVOLUTIONS):
            handles.append(part.register_forward_hook(partial(_blank, visible)))
        elif isinstance(part, NORMS):
            handles.append(part.register_forward_hook(partial(_renormed, visible)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def unfit(network: nn.Module) -> list[str]:
    """Return the kinds of layers that mix places and cannot be made sparse, such as attention."""
    mixing = (nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm, nn.MultiheadAttention, nn.Linear)
    return sorted({type(part).__name__ for part in network.modules() if isinstance(part, mixing)})


def _blank(visible: Tensor, part: nn.Module, inputs: Any, out: Any) -> Tensor:
    return out * _at(visible, out)


def _renormed(visible: Tensor, part: nn.Module, inputs: Any, out: Any) -> Tensor:
    return _norm(part, inputs[0], visible)


def _at(visible: Tensor, like: Tensor) -> Tensor:
    """Return the mask at the resolution of a feature map."""
    return F.interpolate(visible.to(like.dtype), like.shape[2:], mode="nearest")


def _norm(norm: Any, x: Tensor, visible: Tensor) -> Tensor:
    """Return the instance norm over the places that are visible; zeros elsewhere."""
    mask = _at(visible, x).float()
    with torch.autocast(x.device.type, enabled=False):
        values = x.float()
        count = mask.sum((2, 3, 4), keepdim=True).clamp(min=1)
        mean = (values * mask).sum((2, 3, 4), keepdim=True) / count
        spread = ((values - mean) * mask).square().sum((2, 3, 4), keepdim=True) / count
        result = (values - mean) / (spread + norm.eps).sqrt()
        if norm.affine:
            result = result * norm.weight.view(1, -1, 1, 1, 1) + norm.bias.view(1, -1, 1, 1, 1)
        return (result * mask).to(x.dtype)
