"""A decoder as plain as one can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple
from hilum.encoders.decoders.base import Decoder, level_of, start_at_prior


class TopDownDecoder(Decoder):
    """From the coarsest map up: bring to the next map's sides, add a projection of that, convolve.

    Source:
        Lin et al., "Feature pyramid networks for object detection", CVPR 2017, arXiv:1612.03144;
        with one output, at full resolution.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map.
        classes: Output channels.
        prior: Expected share of each foreground class; `None` leaves the bias alone.
        width: Channels on the way up.
    """

    small: ClassVar = {"width": 4}

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        prior: float | None = 0.01,
        *,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {"name": "top_down", "width": width}
        self.first = tuple(strides[0])
        self.projections = nn.ModuleList(nn.Conv3d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for _ in channels[1:])
        self.head = nn.Conv3d(width, classes, 1)
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs at full resolution, as a list of one."""
        x = self.projections[-1](pyramid[-1])
        for n in reversed(range(len(pyramid) - 1)):
            x = F.interpolate(x, pyramid[n].shape[2:]) + self.projections[n](pyramid[n])
            x = F.leaky_relu(self.smooth[n](x))
        outputs = self.head(x)
        sides = [side * s for side, s in zip(x.shape[2:], self.first, strict=True)]
        if list(outputs.shape[2:]) != sides:
            outputs = F.interpolate(outputs, sides, mode="trilinear")
        return [outputs]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of the only head."""
        return [level_of(self, "head")]
