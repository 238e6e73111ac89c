"""The way up of the plain 3D U-Net, as Models Genesis and SuPreM have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hilum.core.geometry import IntTriple

from ..unet3d import convolution
from .base import Decoder, level_of, start_at_prior, steps_of


class Unet3dDecoder(Decoder):
    """A transposed convolution up, the encoder's map behind it, and two convolutions. Final.

    Source:
        Çiçek et al., "3D U-Net", MICCAI 2016, arXiv:1606.06650; layers and channels as in the
        `unet3d.py` of Models Genesis, norms of each sample as in our encoder `unet3d`.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map; the first must be 1.
        classes: Output channels.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        prior: float | None = 0.01,
    ) -> None:
        super().__init__()
        self.spec = {"name": "unet3d"}
        self.ups = nn.ModuleList()
        places = zip(steps_of(strides)[::-1], channels[:0:-1], channels[-2::-1], strict=True)
        for step, below, here in places:
            up = nn.Module()
            up.up_conv = nn.ConvTranspose3d(below, below, step, step)
            up.ops = nn.Sequential(convolution(below + here, here), convolution(here, here))
            self.ups.append(up)
        self.final_conv = nn.Conv3d(channels[0], classes, 1)
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs at full resolution, as a list of one."""
        x = pyramid[-1]
        for number, up in enumerate(self.ups):
            wide = up.get_submodule("up_conv")(x)
            x = up.get_submodule("ops")(torch.cat([wide, pyramid[-2 - number]], 1))
        return [self.final_conv(x)]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of the only head."""
        return [level_of(self, "final_conv")]
