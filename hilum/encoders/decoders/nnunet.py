"""The decoder of nnU-Net's U-Nets, plain and residual, with nnU-Net's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .base import Decoder, level_of, start_at_prior, steps_of


class NnunetDecoder(Decoder):
    """Transposed convolutions and stacked convolutions, with a head at every level. Final.

    Source:
        Isensee et al., "nnU-Net", Nature Methods 2021; built by `dynamic_network_architectures`.

    Args:
        channels: Channels of each map, finest first.
        strides: Image voxels per voxel of each map; the first must be 1.
        classes: Output channels.
        deep_supervision: Whether coarser maps predict, too.
        prior: Expected fraction of each foreground class; `None` leaves the bias alone.
        convolutions: Of each level, coarsest first, or of all; nnU-Net's are 2, of ResEnc 1.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[IntTriple],
        classes: int,
        deep_supervision: bool = True,
        prior: float | None = 0.01,
        *,
        convolutions: int | Sequence[int] = 2,
    ) -> None:
        super().__init__()
        counts = convolutions if isinstance(convolutions, int) else list(convolutions)
        self.spec = {
            "name": "nnunet",
            "deep_supervision": deep_supervision,
            "convolutions": counts,
        }
        steps = steps_of(strides)
        if not isinstance(counts, int) and len(counts) != len(steps):
            raise SettingsError(
                "convolutions must have one entry per level of the decoder",
                found=f"{len(counts)} entries, {len(steps)} levels",
            )
        # The library's decoder keeps its encoder as a part of itself; this one is no module.
        pyramid: Any = SimpleNamespace(
            output_channels=list(channels),
            strides=[(1, 1, 1), *steps],
            conv_op=nn.Conv3d,
            kernel_sizes=[(3, 3, 3)] * len(channels),
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            dropout_op=None,
            dropout_op_kwargs=None,
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        self.inner = UNetDecoder(pyramid, classes, counts, deep_supervision)
        del self.inner.encoder
        if not deep_supervision:  # the library keeps heads that nothing reaches
            self.inner.seg_layers = self.inner.seg_layers[-1:]
        start_at_prior(self.head_rows(), prior)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return outputs, the first at the full resolution of the image, then ever coarser."""
        outputs = self.inner(pyramid)
        return list(outputs) if self.inner.deep_supervision else [outputs]

    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return weight and bias of each head, the finest first."""
        count = len(self.inner.seg_layers)
        return [level_of(self, f"inner.seg_layers.{n}") for n in reversed(range(count))]
