"""The decoder of MONAI's Swin UNETR, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .base import Decoder, level_of, start_at_prior

FACTORS = (1, 1, 2, 4, 8, 16)


class SwinUnetrDecoder(Decoder):
    """Residual blocks on the maps of a Swin transformer, and transposed convolutions. Final.

    The finest map is the encoder's block of the image (`fine: block` of `swin`).

    Source:
        Tang et al., "Self-supervised pre-training of Swin transformers for 3D medical image
        analysis", CVPR 2022, arXiv:2111.14791; blocks of MONAI.

    Args:
        channels: Channels of each map, finest first: w, w, 2w, 4w, 8w, 16w.
        strides: Image voxels per voxel of each map: 1, 2, 4, 8, 16, 32.
        classes: Output channels.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
    """

    small_pyramid: ClassVar = ((4, 4, 8, 16, 32, 64), tuple((2**n,) * 3 for n in range(6)))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        prior: float | None = 0.01,
    ) -> None:
        super().__init__()
        width = channels[0]
        wanted = [(2**n,) * 3 for n in range(6)]
        if [width * f for f in FACTORS] != list(channels) or [tuple(s) for s in strides] != wanted:
            raise SettingsError(
                "swin_unetr needs the maps of a swin encoder with four stages and a block at full "
                "resolution",
                found=f"channels {tuple(channels)}, strides {tuple(strides)}",
                remedy="set encoder.name=swin, encoder.fine=block, or use the decoder pyramid",
            )
        self.spec = {"name": "swin_unetr"}
        self.encoder2, self.encoder3, self.encoder4 = (_block(c) for c in channels[1:4])
        self.encoder10 = _block(channels[5])
        self.decoder5, self.decoder4, self.decoder3, self.decoder2, self.decoder1 = (
            UnetrUpBlock(3, below, here, 3, 2, "instance", res_block=True)
            for below, here in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.out = UnetOutBlock(3, width, classes)
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs at full resolution, as a list of one."""
        image, first, second, third, fourth, last = pyramid
        x = self.decoder5(self.encoder10(last), fourth)
        x = self.decoder4(x, self.encoder4(third))
        x = self.decoder3(x, self.encoder3(second))
        x = self.decoder2(x, self.encoder2(first))
        return [self.out(self.decoder1(x, image))]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of the only head."""
        return [level_of(self, "out.conv.conv")]


def _block(channels: int) -> UnetrBasicBlock:
    return UnetrBasicBlock(3, channels, channels, 3, 1, "instance", res_block=True)
