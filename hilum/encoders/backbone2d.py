"""The contract of a 2D network that an encoder runs on slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn


class FlatNetwork(nn.Module, ABC):
    """A batch of slices goes in, feature maps come out, finest first.

    Attributes:
        net: The library's network, with its names.
        channels: Channels of each map.
        strides: Pixels per voxel of each map; the token's side for each map of a token network.
        tokens: Whether all maps are at one scale, that of the tokens.
        side: Side in pixels that every slice must have; `None` if any will do.
        stem: Names of the parameters, below `net.`, whose second axis is the image's channels.
        blocks: What to compute again when memory is short.
    """

    net: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    tokens: bool
    side: int | None
    stem: tuple[str, ...]
    blocks: tuple[nn.Module, ...]

    @abstractmethod
    def forward(self, slices: Tensor) -> list[Tensor]:
        """Map `[N, C, H, W]` to `[N, channels[i], H/strides[i], W/strides[i]]` for each i."""


def gray_stem(kernel: Tensor, channels: int) -> Tensor:
    """Return a kernel for `channels` modalities: the sum over colours, an equal part for each.

    So one image in every channel gives what it gave in every colour.
    """
    if kernel.ndim != 4 or kernel.shape[1] == channels:
        return kernel
    return (kernel.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)


def fit(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights that fit a network by name and shape, and the names that got none."""
    found = {}
    for key in own:
        value = weights.get(key)
        if value is not None and value.ndim == 4 and own[key].ndim == 4:
            value = gray_stem(value, own[key].shape[1]) if value.shape[1] == 3 else value
        if value is not None and value.shape == own[key].shape:
            found[key] = value
    return found, [key for key in own if key not in found]
