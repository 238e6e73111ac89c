"""The decoder of a linear probe: one linear map from the features of a voxel to its classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple

from .base import Decoder, start_at_prior


class LinearDecoder(Decoder):
    """Sum of one 1 x 1 x 1 convolution per level, each brought to full resolution. Final.

    This is one linear layer on the upsampled and stacked features ("hypercolumns") of a voxel, in
    the cheap order: interpolation and a linear map commute.

    Source:
        Hariharan et al., "Hypercolumns", CVPR 2015, arXiv:1411.5752.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map.
        classes: Output channels.
        prior: Expected fraction of each foreground class; sets the bias.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        prior: float = 0.01,
    ) -> None:
        super().__init__()
        self.spec = {"name": "linear"}
        self.first = tuple(strides[0])
        self.maps = nn.ModuleList(nn.Conv3d(c, classes, 1, bias=False) for c in channels)
        self.bias = nn.Parameter(torch.zeros(classes))
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits at full resolution, as a list of one."""
        sides = [side * s for side, s in zip(pyramid[0].shape[2:], self.first, strict=True)]
        logits = self.bias.view(1, -1, 1, 1, 1)
        for features, linear in zip(pyramid, self.maps, strict=True):
            own = linear(features).float()
            if list(own.shape[2:]) != sides:
                own = F.interpolate(own, size=sides, mode="trilinear")
            logits = logits + own
        return [logits]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return every parameter: the map is nothing but a head."""
        return [dict(self.named_parameters())]
