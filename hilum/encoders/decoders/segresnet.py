"""The decoder of MONAI's SegResNet, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.nets.segresnet import SegResNet
from torch import Tensor, nn

from hilum.core.geometry import IntTriple

from ..segresnet import NORMS
from .base import Decoder, level_of, start_at_prior, steps_of


class SegresnetDecoder(Decoder):
    """A projection and trilinear interpolation up, added to the encoder's map. Final.

    Source:
        Myronenko, BrainLes 2018, arXiv:1810.11654; parts of MONAI's `SegResNet`.

    Args:
        channels: Channels of each map, finest first, each twice the one before.
        strides: Image voxels per voxel of each map; the first must be 1.
        classes: Output channels.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
        blocks: Residual blocks of each level, coarsest first.
        norm: `instance`, `batch` or `group`.
    """

    small_pyramid: ClassVar = ((8, 16, 32), ((1, 1, 1), (2, 2, 2), (4, 4, 4)))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        prior: float | None = 0.01,
        *,
        blocks: Sequence[int] | None = None,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        steps_of(strides)
        counts = tuple(blocks or [1] * (len(channels) - 1))
        self.spec = {"name": "segresnet", "blocks": list(counts), "norm": norm}
        whole = SegResNet(
            init_filters=channels[0],
            out_channels=classes,
            norm=NORMS[norm],
            blocks_down=(1,) * len(channels),
            blocks_up=counts,
        )
        self.up_layers, self.up_samples = whole.up_layers, whole.up_samples
        self.conv_final = whole.conv_final
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs at full resolution, as a list of one."""
        x = pyramid[-1]
        for number, (up, blocks) in enumerate(zip(self.up_samples, self.up_layers, strict=True)):
            x = blocks(up(x) + pyramid[-2 - number])
        return [self.conv_final(x)]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of the only head."""
        return [level_of(self, "conv_final.2.conv")]
