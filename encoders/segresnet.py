"""MONAI's SegResNet encoder, as in the winner of HECKTOR 2022."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets.segresnet_ds import SegResEncoder
from torch import Tensor

from .base import Encoder


class SegresnetEncoder(Encoder):
    """Pre-activation residual blocks, a stride of 2 between levels.

    Source:
        Myronenko, BrainLes 2018, arXiv:1810.11654; MONAI's `SegResEncoder`.

    Args:
        in_channels: Channels of the image.
        filters: Channels of the first level; each further one doubles them.
        blocks: Residual blocks of each level.
    """

    def __init__(
        self, *, in_channels: int, filters: int = 16, blocks: Sequence[int] = (1, 2, 2, 4)
    ) -> None:
        super().__init__()
        self.inner = SegResEncoder(
            spatial_dims=3,
            in_channels=in_channels,
            init_filters=filters,
            blocks_down=tuple(blocks),
            norm=("INSTANCE", {"affine": True}),
            head_module=None,
        )
        self.in_channels = in_channels
        self.channels = tuple(filters * 2**level for level in range(len(blocks)))
        self.strides = tuple((2**level, 2**level, 2**level) for level in range(len(blocks)))
        self.stem = ("inner.conv_init.weight",)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        return list(self.inner._forward(image))
