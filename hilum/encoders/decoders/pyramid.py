"""From a pyramid back to an image: the one decoder that every strategy and pretext task uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple

from .base import Decoder, level_of, start_at_prior


class PyramidDecoder(Decoder):
    """A light U-Net decoder with heads for deep supervision. Final.

    Each step doubles the grid by a transposed convolution, joins the encoder's map, and convolves
    once.

    The bias of the heads starts at the log of the foreground's prior odds, so that a network that
    knows nothing predicts rare foreground, not a coin toss: training at 0.2 % foreground cannot
    begin with a huge loss and then fall into all-background.

    Source:
        Ronneberger et al., "U-Net", MICCAI 2015, arXiv:1505.04597; deep supervision as in nnU-Net.
        The start of the bias is Lin et al., "Focal Loss", ICCV 2017, arXiv:1708.02002, section 4.1.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map.
        classes: Output channels.
        deep_supervision: Whether coarser maps predict, too.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone (for
            images).

    Raises:
        ValueError: If there is no coarser map to come from, or the background would have no share.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        deep_supervision: bool = True,
        prior: float | None = 0.01,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or len(channels) != len(strides):
            raise ValueError(f"a pyramid has two levels or more, got {channels=} and {strides=}")
        if prior is not None and not 0 < prior * max(classes - 1, 1) < 1:
            raise ValueError(f"priors must be above 0 and leave a background, got {prior=}")
        self.spec = {"name": "pyramid", "deep_supervision": deep_supervision}
        self.first = tuple(strides[0])
        ups, joins, heads = [], [], []
        for fine in range(len(channels) - 2, -1, -1):
            below, here = channels[fine + 1], channels[fine]
            d, h, w = (a // b for a, b in zip(strides[fine + 1], strides[fine], strict=True))
            ups.append(nn.ConvTranspose3d(below, here, (d, h, w), (d, h, w)))
            joins.append(_block(2 * here, here))
            heads.append(nn.Conv3d(here, classes, 1))
        self.ups, self.joins = nn.ModuleList(ups), nn.ModuleList(joins)
        # Only the finest head is there without deep supervision: no parameter lies idle.
        self.heads = nn.ModuleList(heads if deep_supervision else heads[-1:])
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return outputs, the first at the full resolution of the image, then ever coarser."""
        x, outputs = pyramid[-1], []
        late = len(self.joins) - len(self.heads)
        for number, (up, join) in enumerate(zip(self.ups, self.joins, strict=True)):
            x = join(torch.cat([up(x), pyramid[-2 - number]], 1))
            if number >= late:
                outputs.append(self.heads[number - late](x))
        outputs.reverse()
        if self.first != (1, 1, 1):
            scale = tuple(float(s) for s in self.first)
            outputs.insert(
                0, F.interpolate(outputs[0].float(), scale_factor=scale, mode="trilinear")
            )
        return outputs

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of each head, the finest first."""
        return [level_of(self, f"heads.{n}") for n in reversed(range(len(self.heads)))]


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, padding=1),
        nn.InstanceNorm3d(channels_out, affine=True),
        nn.LeakyReLU(inplace=True),
    )
