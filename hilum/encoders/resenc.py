"""The residual encoder of nnU-Net's ResEnc U-Net, with nnU-Net's and nnssl's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import Tensor

from .activation_checkpointing import recompute
from .base import Encoder
from .nnunet_blocks import nnunet_encoder
from .stages import stages_of
from .strides import cumulative

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((16, 32, 64, 128), (1, 1, 1, 1)),
    "small": ((24, 48, 96, 192), (1, 2, 2, 2)),
    "base": ((32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6)),
}
"""Features and residual blocks of each stage: 0.9, 4.6 and 90 million parameters.

`base` is nnU-Net's ResEnc-L.
"""


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
        checkpoint_activations: Whether to compute stages again in the backward pass, for memory.

    Examples:
        >>> import torch
        >>> encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
        >>> [tuple(f.shape) for f in encoder(torch.rand(1, 2, 4, 6, 8))]
        [(1, 4, 4, 6, 8), (1, 8, 2, 3, 4)]
    """

    citation = ("Isensee, F. and others", "nnU-Net Revisited", "MICCAI", 2024, "arXiv:2404.09556")
    note = "strides per axis by `strides`"
    sizes: ClassVar = {
        "tiny": (898_288, (1, 2, 4, 8)),
        "small": (4_633_800, (1, 2, 4, 8)),
        "base": (90_297_440, (1, 2, 4, 8, 16, 32)),
    }
    small: ClassVar = {"features": [4, 8, 8], "blocks": [1, 1, 1], "strides": [1, 2, [1, 2, 2]]}

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
        inner = nnunet_encoder(ResidualEncoder, in_channels, channels, steps, counts)
        self.inner = inner  # its keys are those of nnU-Net and nnssl below `encoder.`
        self.in_channels, self.channels = in_channels, channels
        self.strides = cumulative(steps)
        self.stem = tuple(
            name
            for name, value in self.named_parameters(remove_duplicate=False)
            if name.startswith("inner.stem.convs.0") and value.ndim == 5
        )
        if checkpoint_activations:
            recompute(inner.stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        return self.inner(image)
