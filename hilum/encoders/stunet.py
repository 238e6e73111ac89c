"""The encoder of STU-Net, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from hilum.core.geometry import IntTriple

from .activation_checkpointing import recompute
from .base import Encoder
from .stages import stages_of
from .strides import cumulative

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((8, 16, 32, 64), (1, 1, 1, 1)),
    "small": ((16, 32, 64, 128, 256, 256), (1, 1, 1, 1, 1, 1)),
    "base": ((32, 64, 128, 256, 512, 512), (1, 1, 1, 1, 1, 1)),
    "large": ((64, 128, 256, 512, 1024, 1024), (2, 2, 2, 2, 2, 2)),
}
"""Features and residual blocks of each stage; from `small` on those of STU-Net S, B and L."""


class StunetEncoder(Encoder):
    """Residual blocks with instance norm and a projection at each stride, as in STU-Net.

    Source:
        Huang et al., "STU-Net", 2023, arXiv:2304.06716; STU-Net-S won HECKTOR 2025.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small`, `base` or `large`.
        features: Channels of each stage; replaces the size's.
        blocks: Residual blocks of each stage; replaces the size's.
        strides: Stride of each stage, a number or one per axis; 1, then 2 for every further stage.
        checkpoint_activations: Whether to compute stages again in the backward pass, for memory.
    """

    citation = ("Huang, Z. and others", "STU-Net", "arXiv", 2023, "arXiv:2304.06716")
    note = "strides per axis by `strides`"
    sizes: ClassVar = {
        "tiny": (223_432, (1, 2, 4, 8)),
        "small": (7_186_192, (1, 2, 4, 8, 16, 32)),
        "base": (28_732_448, (1, 2, 4, 8, 16, 32)),
        "large": (246_970_048, (1, 2, 4, 8, 16, 32)),
    }

    small: ClassVar = {
        "features": [4, 8, 8],
        "blocks": [1, 2, 1],
        "strides": [1, 2, [1, 2, 2]],
    }

    single = False

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        features: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        strides: Sequence[int | Sequence[int]] | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        channels, counts, steps = stages_of(SIZES, size, features, blocks, strides, "blocks")
        self.inner = nn.ModuleDict(
            {
                "conv_blocks_context": nn.ModuleList(
                    residual_stage(before, here, count, step)
                    for before, here, count, step in zip(
                        (in_channels, *channels), channels, counts, steps, strict=False
                    )
                )
            }
        )
        self.in_channels, self.channels = in_channels, channels
        self.strides = cumulative(steps)
        first = "inner.conv_blocks_context.0.0"
        self.stem = (f"{first}.conv1.weight", f"{first}.conv3.weight")
        if checkpoint_activations:
            recompute(self.inner.get_submodule("conv_blocks_context").children())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        maps = [image]
        for stage in self.inner.get_submodule("conv_blocks_context").children():
            maps.append(stage(maps[-1]))
        return maps[1:]


class ResidualBlock(nn.Module):
    """Two convolutions with norms next to the input, or next to a projection of it."""

    def __init__(
        self, before: int, here: int, step: IntTriple = (1, 1, 1), project: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(before, here, 3, step, padding=1)
        self.norm1 = nn.InstanceNorm3d(here, affine=True)
        self.conv2 = nn.Conv3d(here, here, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(here, affine=True)
        self.conv3 = nn.Conv3d(before, here, 1, step) if project else None
        self.act = nn.LeakyReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the block."""
        inner = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(inner + (x if self.conv3 is None else self.conv3(x)))


def residual_stage(
    before: int, here: int, count: int, step: IntTriple = (1, 1, 1)
) -> nn.Sequential:
    """Return `count` blocks, the first of which strides and projects."""
    rest = [ResidualBlock(here, here) for _ in range(count - 1)]
    return nn.Sequential(ResidualBlock(before, here, step, project=True), *rest)
