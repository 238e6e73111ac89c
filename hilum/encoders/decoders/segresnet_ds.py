"""The decoder of MONAI's SegResNetDS, with its parameter names."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

from monai.networks.nets.segresnet_ds import SegResNetDS
from torch import Tensor, nn

from hilum.core.geometry import IntTriple

from ..segresnet import NORMS
from .base import Decoder, level_of, start_at_prior, steps_of


class SegresnetDsDecoder(Decoder):
    """Transposed convolutions up, added to the encoder's map, with heads at many levels. Final.

    Source:
        MONAI's `SegResNetDS`, of the winner of HECKTOR 2022 (Myronenko et al.).

    Args:
        channels: Channels of each map, finest first, each twice the one before.
        strides: Image voxels per voxel of each map; the first must be 1.
        classes: Output channels.
        deep_supervision: Whether coarser maps predict, too.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
        blocks: Residual blocks of each level, coarsest first.
        norm: `instance`, `batch` or `group`.
        heads: Levels with a head, the finest one first; empty: all.
    """

    small_pyramid: ClassVar = ((8, 16, 32), ((1, 1, 1), (2, 2, 2), (4, 4, 4)))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        deep_supervision: bool = True,
        prior: float | None = 0.01,
        *,
        blocks: Sequence[int] | None = None,
        norm: str = "instance",
        heads: int | None = None,
    ) -> None:
        super().__init__()
        steps_of(strides)
        counts = tuple(blocks or [1] * (len(channels) - 1))
        self.count = (heads or len(counts)) if deep_supervision else 1
        self.spec = {
            "name": "segresnet_ds",
            "deep_supervision": deep_supervision,
            "blocks": list(counts),
            "norm": norm,
            "heads": heads,
        }
        self.up_layers = SegResNetDS(
            init_filters=channels[0],
            out_channels=classes,
            norm=copy.deepcopy(NORMS[norm]),  # which it changes
            blocks_down=(1,) * len(channels),
            blocks_up=counts,
            dsdepth=self.count,
        ).up_layers
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return outputs, the first at the full resolution of the image, then ever coarser."""
        x, outputs = pyramid[-1], []
        for number, level in enumerate(self.up_layers):
            x = level.get_submodule("upsample")(x) + pyramid[-2 - number]
            x = level.get_submodule("blocks")(x)
            if number >= len(self.up_layers) - self.count:
                outputs.append(level.get_submodule("head")(x))
        return outputs[::-1]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of each head, the finest first."""
        last = len(self.up_layers) - 1
        return [level_of(self, f"up_layers.{last - n}.head") for n in range(self.count)]
