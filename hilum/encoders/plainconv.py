"""The encoder of nnU-Net's default U-Net, with nnU-Net's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from torch import Tensor

from .activation_checkpointing import recompute
from .base import Encoder
from .nnunet_blocks import nnunet_encoder
from .stages import stages_of
from .strides import cumulative

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((16, 32, 64, 128), (2, 2, 2, 2)),
    "small": ((32, 64, 128, 256), (2, 2, 2, 2)),
    "base": ((32, 64, 128, 256, 320, 320), (2, 2, 2, 2, 2, 2)),
}
"""Features and convolutions of each stage; `base` is what nnU-Net plans for patches of 128."""


class PlainconvEncoder(Encoder):
    """Convolutions with instance norm, two a stage, the first of which strides.

    Source:
        Isensee et al., "nnU-Net", Nature Methods 2021; built by `dynamic_network_architectures`.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`.
        features: Channels of each stage; replaces the size's.
        convolutions: Convolutions of each stage; replaces the size's.
        strides: Stride of each stage, a number or one per axis; 1, then 2 for every further stage.
        checkpoint_activations: Whether to compute stages again in the backward pass, for memory.
    """

    citation = (
        "Isensee, F. and others",
        "nnU-Net: A Self-Configuring Method for Deep Learning-Based Biomedical Image Segmentation",
        "Nature Methods",
        2021,
        "doi:10.1038/s41592-020-01008-z",
    )
    note = "strides per axis by `strides`"
    sizes: ClassVar = {
        "tiny": (880_128, (1, 2, 4, 8)),
        "small": (3_515_904, (1, 2, 4, 8)),
        "base": (14_025_984, (1, 2, 4, 8, 16, 32)),
    }
    small: ClassVar = {
        "features": [4, 8, 8],
        "convolutions": [1, 2, 1],
        "strides": [1, 2, [1, 2, 2]],
    }

    single = False

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        features: Sequence[int] | None = None,
        convolutions: Sequence[int] | None = None,
        strides: Sequence[int | Sequence[int]] | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        channels, counts, steps = stages_of(
            SIZES, size, features, convolutions, strides, "convolutions"
        )
        self.inner = nnunet_encoder(PlainConvEncoder, in_channels, channels, steps, counts)
        self.in_channels, self.channels = in_channels, channels
        self.strides = cumulative(steps)
        self.stem = tuple(
            name
            for name, value in self.named_parameters(remove_duplicate=False)
            if name.startswith("inner.stages.0.0.convs.0.") and value.ndim == 5
        )
        if checkpoint_activations:
            recompute(self.inner.stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        return self.inner(image)
