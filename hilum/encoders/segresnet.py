"""MONAI's SegResNet encoder, as in the winner of HECKTOR 2022."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.nets.segresnet_ds import SegResEncoder
from torch import Tensor

from hilum.core.errors import SettingsError

from .activation_checkpointing import recompute
from .base import Encoder, preset

NORMS: dict[str, tuple[str, dict[str, object]]] = {
    "instance": ("INSTANCE", {"affine": True}),
    "batch": ("BATCH", {}),
    "group": ("GROUP", {"num_groups": 8}),
}
"""Instance norm is HECKTOR 2022's winner's, batch norm CT-FM's, group norm SuPreM's."""

SIZES: dict[str, tuple[int, tuple[int, ...]]] = {
    "tiny": (8, (1, 1, 1, 1)),
    "small": (16, (1, 2, 2, 4)),
    "base": (32, (1, 2, 2, 4, 4)),
}
"""Channels of the first level, and residual blocks of each.

`base` is that of HECKTOR 2022's winner, and of CT-FM.
"""


class SegresnetEncoder(Encoder):
    """Pre-activation residual blocks, a stride of 2 between levels.

    Source:
        Myronenko, BrainLes 2018, arXiv:1810.11654; MONAI's `SegResEncoder`.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`.
        filters: Channels of the first level, doubled by each further one; replaces the size's.
        blocks: Residual blocks of each level; replaces the size's.
        norm: `instance`, `batch` or `group` (8 groups, as in MONAI).
        checkpoint_activations: Whether to compute levels again in the backward pass, for memory.
    """

    citation = (
        "Myronenko, A.",
        "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization",
        "BrainLes",
        2018,
        "arXiv:1810.11654",
    )
    sizes: ClassVar = {
        "tiny": (367_248, (1, 2, 4, 8)),
        "small": (4_399_776, (1, 2, 4, 8)),
        "base": (77_761_856, (1, 2, 4, 8, 16)),
    }
    small: ClassVar = {"filters": 8, "blocks": [1, 1, 1]}

    single = False

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "small",
        filters: int | None = None,
        blocks: Sequence[int] | None = None,
        norm: str = "instance",
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise SettingsError(
                f"norm must be one of {', '.join(NORMS)}",
                found=repr(norm),
                remedy="choose one of these",
            )
        own_filters, own_blocks = preset(size, SIZES)
        filters, blocks = filters or own_filters, blocks or own_blocks
        self.inner = SegResEncoder(
            spatial_dims=3,
            in_channels=in_channels,
            init_filters=filters,
            blocks_down=tuple(blocks),
            norm=NORMS[norm],
            head_module=None,
        )
        self.in_channels = in_channels
        self.channels = tuple(filters * 2**level for level in range(len(blocks)))
        self.strides = tuple((2**level, 2**level, 2**level) for level in range(len(blocks)))
        self.stem = ("inner.conv_init.weight",)
        if checkpoint_activations:
            recompute(level.get_submodule("blocks") for level in self.inner.layers)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        return list(self.inner(image))
