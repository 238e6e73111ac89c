"""The residual encoder of nnU-Net's ResEnc U-Net, with nnU-Net's and nnssl's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import Tensor, nn

from ..core.geometry import IntTriple
from .base import Encoder

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((16, 32, 64, 128), (1, 1, 1, 1)),
    "small": ((24, 48, 96, 192, 256), (1, 2, 2, 2, 2)),
    "base": ((32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6)),
}
"""Features and residual blocks of each stage; `base` is nnU-Net's ResEnc-L."""


class ResencEncoder(Encoder):
    """Residual blocks with instance norm, one stage per stride.

    Source:
        Isensee et al., "nnU-Net Revisited", MICCAI 2024, arXiv:2404.09556; built by
        `dynamic_network_architectures`.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`.
        features: Channels of each stage; replaces the size's.
        blocks: Residual blocks of each stage; replaces the size's.
        strides: Stride of each stage, a number or one per axis; 1, then 2 for every further stage.

    Examples:
        >>> import torch
        >>> encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
        >>> [tuple(f.shape) for f in encoder(torch.rand(1, 2, 4, 6, 8))]
        [(1, 4, 4, 6, 8), (1, 8, 2, 3, 4)]
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        features: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        strides: Sequence[int | Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        wide, deep = SIZES[size]
        channels = tuple(features or wide)
        counts = tuple(blocks or deep[: len(channels)])
        steps = [_triple(s) for s in strides or [1, *[2] * (len(channels) - 1)]]
        if not len(channels) == len(counts) == len(steps):
            raise ValueError(
                f"features, blocks and strides must be equally long, got {len(channels)}, "
                f"{len(counts)} and {len(steps)}"
            )
        inner = ResidualEncoder(
            in_channels,
            len(channels),
            list(channels),
            nn.Conv3d,
            3,
            [list(step) for step in steps],  # pyright: ignore[reportArgumentType]
            list(counts),
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            return_skips=True,
        )
        self.inner = inner  # its keys are those of nnU-Net and nnssl below `encoder.`
        self.in_channels, self.channels = in_channels, channels
        self.strides = _cumulative(steps)
        self.stem = tuple(
            name
            for name, value in self.named_parameters(remove_duplicate=False)
            if name.startswith("inner.stem.convs.0") and value.ndim == 5
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        return self.inner(image)


def _triple(step: int | Sequence[int]) -> IntTriple:
    d, h, w = (step, step, step) if isinstance(step, int) else step
    return d, h, w


def _cumulative(steps: Sequence[IntTriple]) -> tuple[IntTriple, ...]:
    total, found = (1, 1, 1), []
    for step in steps:
        total = (total[0] * step[0], total[1] * step[1], total[2] * step[2])
        found.append(total)
    return tuple(found)
