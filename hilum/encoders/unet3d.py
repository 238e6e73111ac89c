"""The plain 3D U-Net's way down, with the parameter names of Models Genesis."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from .activation_checkpointing import recompute
from .base import Encoder, preset

SIZES = {"tiny": 4, "small": 16, "base": 32}
"""Channels of the first convolution; `base` is that of Models Genesis."""

LEVELS = ("down_tr64", "down_tr128", "down_tr256", "down_tr512")
"""Named for the channels of `base`, whatever the size."""


class Unet3DEncoder(Encoder):
    """Two convolutions a level with instance norm, and a maximum over 2 voxels between levels.

    Source:
        Zhou et al., "Models Genesis", Medical Image Analysis 2021, arXiv:2004.07882, and its
        `unet3d.py`, after Çiçek et al., "3D U-Net", MICCAI 2016, arXiv:1606.06650. The source
        normalises by the statistics of the batch at hand, in training and at inference; ours by
        those of each sample: the same for a batch of one, and no sample depends on its mates.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`.
        features: Channels of the first convolution; a level has 2, 4, 8 and 16 times as many.
            Replaces the size's.
        checkpoint_activations: Whether to compute levels again in the backward pass, for memory.
    """

    citation = ("Cicek, O. and others", "3D U-Net", "MICCAI", 2016, "arXiv:1606.06650")
    sizes: ClassVar = {
        "tiny": (110_484, (1, 2, 4, 8)),
        "small": (1_758_672, (1, 2, 4, 8)),
        "base": (7_028_640, (1, 2, 4, 8)),
    }
    small: ClassVar = {"features": 4}

    single = False

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "small",
        features: int | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        first = features or preset(size, SIZES)
        self.in_channels = in_channels
        self.channels = tuple(first * 2 ** (level + 1) for level in range(len(LEVELS)))
        self.strides = tuple((2**level, 2**level, 2**level) for level in range(len(LEVELS)))
        self.stem = ("inner.down_tr64.ops.0.conv1.weight",)
        self.inner, before = nn.Module(), in_channels
        for name, wide in zip(LEVELS, self.channels, strict=True):
            level = nn.Module()
            level.ops = nn.Sequential(convolution(before, wide // 2), convolution(wide // 2, wide))
            self.inner.add_module(name, level)
            before = wide
        self.pool = nn.MaxPool3d(2)
        if checkpoint_activations:
            recompute(self._levels())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        maps: list[Tensor] = []
        for level in self._levels():
            maps.append(level(self.pool(maps[-1]) if maps else image))
        return maps

    def _levels(self) -> list[nn.Module]:
        return [self.inner.get_submodule(f"{name}.ops") for name in LEVELS]


def convolution(before: int, after: int) -> nn.Sequential:
    """Return a convolution, its norm and ReLU under the source's names."""
    made = nn.Sequential()
    made.add_module("conv1", nn.Conv3d(before, after, 3, padding=1))
    made.add_module("bn1", nn.InstanceNorm3d(after, affine=True))
    made.add_module("activation", nn.ReLU(inplace=True))
    return made
