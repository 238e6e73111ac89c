"""The decoder of STU-Net, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple

from ..stunet import residual_stage
from .base import Decoder, level_of, start_at_prior, steps_of


class StunetDecoder(Decoder):
    """Nearest neighbours and a projection up, then residual blocks, a head at every level. Final.

    Source:
        Huang et al., "STU-Net", 2023, arXiv:2304.06716.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map; the first must be 1.
        classes: Output channels.
        deep_supervision: Whether coarser maps predict, too.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
        blocks: Residual blocks of each level, coarsest first, or of all.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        deep_supervision: bool = True,
        prior: float | None = 0.01,
        *,
        blocks: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.steps = steps_of(strides)[::-1]
        counts = [blocks] * len(self.steps) if isinstance(blocks, int) else list(blocks)
        self.spec = {"name": "stunet", "deep_supervision": deep_supervision, "blocks": counts}
        pairs = list(zip(channels[:0:-1], channels[-2::-1], counts, strict=True))
        self.upsample_layers = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv3d(below, here, 1)}) for below, here, _ in pairs
        )
        self.conv_blocks_localization = nn.ModuleList(
            residual_stage(2 * here, here, count) for _, here, count in pairs
        )
        heads = [nn.Conv3d(here, classes, 1) for _, here, _ in pairs]
        self.seg_outputs = nn.ModuleList(heads if deep_supervision else heads[-1:])
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return outputs, the first at the full resolution of the image, then ever coarser."""
        x, outputs = pyramid[-1], []
        late = len(self.steps) - len(self.seg_outputs)
        for number, (up, stage) in enumerate(
            zip(self.upsample_layers, self.conv_blocks_localization, strict=True)
        ):
            scale = tuple(float(side) for side in self.steps[number])
            x = up.get_submodule("conv")(F.interpolate(x, scale_factor=scale, mode="nearest"))
            x = stage(torch.cat([x, pyramid[-2 - number]], 1))
            if number >= late:
                outputs.append(self.seg_outputs[number - late](x))
        return outputs[::-1]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of each head, the finest first."""
        return [level_of(self, f"seg_outputs.{n}") for n in reversed(range(len(self.seg_outputs)))]
