"""An encoder of strided convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from hilum.encoders.base import Encoder


class StridedEncoder(Encoder):
    """A convolution a level, with a stride of 2 from the second on.

    Args:
        in_channels: Channels of the image.
        features: Channels of each level.
    """

    note = "as small as an encoder can be"
    sizes: ClassVar = {"default": (70_208, (1, 2, 4))}
    single = False

    def __init__(self, *, in_channels: int, features: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = tuple(features)
        self.strides = tuple((2**n, 2**n, 2**n) for n in range(len(self.channels)))
        self.stem = ("levels.0.0.weight",)
        before = (in_channels, *self.channels)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(before[n], after, 3, stride=2 if n else 1, padding=1, bias=False),
                nn.InstanceNorm3d(after, affine=True),
                nn.LeakyReLU(),
            )
            for n, after in enumerate(self.channels)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        maps: list[Tensor] = []
        for level in self.levels:
            maps.append(level(maps[-1] if maps else image))
        return maps
