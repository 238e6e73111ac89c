"""MedNeXt's encoder: ConvNeXt's blocks in 3D, with MONAI's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.nets.mednext import MedNeXt
from torch import Tensor, nn

from hilum.core.errors import SettingsError

from .activation_checkpointing import recompute
from .base import Encoder, preset
from .strides import cumulative, triple

SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (16, (1, 1, 1, 1), (2, 2, 2, 2)),
    "small": (32, (2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
    "base": (32, (2, 2, 2, 2, 2), (2, 3, 4, 4, 4)),
    "medium": (32, (3, 4, 4, 4, 4), (2, 3, 4, 4, 4)),
    "large": (32, (3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
}
"""Channels of the first stage, blocks and expansion of each stage, the last being the bottleneck.

`small`, `base`, `medium` and `large` are MedNeXt-S, -B, -M and -L.
"""


class MednextEncoder(Encoder):
    """Depth-wise convolutions, expansion and compression; a stride of 2 between stages.

    Source:
        Roy et al., "MedNeXt", MICCAI 2023, arXiv:2303.09975; MONAI's `MedNeXt` without its decoder.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small`, `base`, `medium` or `large`.
        width: Channels of the first stage, doubled by each further one; replaces the size's.
        blocks: Blocks of each stage; replaces the size's.
        expansion: Widening inside the blocks of each stage; replaces the size's.
        kernel: Side of the depth-wise kernels, odd.
        strides: Stride between stages, 1 or 2, a number or one per axis, one entry fewer than
            stages; 2 everywhere if not given.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = ("Roy, S. and others", "MedNeXt", "MICCAI", 2023, "arXiv:2303.09975")
    note = "strides per axis by `strides`"
    sizes: ClassVar = {
        "tiny": (142_048, (1, 2, 4, 8)),
        "small": (3_572_640, (1, 2, 4, 8, 16)),
        "base": (6_849_888, (1, 2, 4, 8, 16)),
        "medium": (12_476_288, (1, 2, 4, 8, 16)),
        "large": (46_699_840, (1, 2, 4, 8, 16)),
    }
    small: ClassVar = {
        "width": 4,
        "blocks": [1, 1, 1],
        "expansion": [2, 2, 2],
        "strides": [2, [1, 2, 2]],
    }

    single = False

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        width: int | None = None,
        blocks: Sequence[int] | None = None,
        expansion: Sequence[int] | None = None,
        kernel: int = 3,
        strides: Sequence[int | Sequence[int]] | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_blocks, own_expansion = preset(size, SIZES)
        width, counts, factors = (
            width or own_width,
            blocks or own_blocks,
            expansion or own_expansion,
        )
        steps = [triple(step) for step in strides or [2] * (len(counts) - 1)]
        _check(counts, factors, steps, kernel)
        self.inner = MedNeXt(
            3,
            width,
            in_channels,
            encoder_expansion_ratio=list(factors[:-1]),
            decoder_expansion_ratio=[],
            bottleneck_expansion_ratio=factors[-1],
            kernel_size=kernel,
            use_residual_connection=True,
            blocks_down=list(counts[:-1]),
            blocks_bottleneck=counts[-1],
            blocks_up=[],
        )
        # The head of a decoder that was not built; idle parameters stop distributed training.
        del self.inner.out_0
        for down, step in zip(self.inner.down_blocks, steps, strict=True):
            for name in ("conv1", "res_conv"):
                conv = down.get_submodule(name)
                assert isinstance(conv, nn.Conv3d)
                conv.stride = step
        self.in_channels = in_channels
        self.channels = tuple(width * 2**stage for stage in range(len(counts)))
        self.strides = cumulative([(1, 1, 1), *steps])
        self.stem = ("inner.stem.weight",)
        if checkpoint_activations:
            recompute([*self.inner.enc_stages, *self.inner.down_blocks, self.inner.bottleneck])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        x, maps = self.inner.stem(image), []
        for stage, down in zip(self.inner.enc_stages, self.inner.down_blocks, strict=True):
            maps.append(stage(x))
            x = down(maps[-1])
        return [*maps, self.inner.bottleneck(x)]


def _check(
    blocks: Sequence[int],
    expansion: Sequence[int],
    steps: Sequence[tuple[int, int, int]],
    kernel: int,
) -> None:
    if not len(blocks) == len(expansion) == len(steps) + 1 or len(blocks) < 2:
        raise SettingsError(
            "blocks and expansion must have one entry per stage, strides one fewer",
            found=f"{len(blocks)}, {len(expansion)} and {len(steps)} entries",
            remedy="give all three",
        )
    if min(*blocks, *expansion) < 1 or any(side not in (1, 2) for s in steps for side in s):
        raise SettingsError(
            "blocks and expansion must be at least 1, and strides 1 or 2",
            found=f"{tuple(blocks)}, {tuple(expansion)}, {list(steps)}",
        )
    if kernel < 1 or kernel % 2 == 0:
        raise SettingsError("kernel must be odd", found=kernel, remedy="take 3 or 5")
