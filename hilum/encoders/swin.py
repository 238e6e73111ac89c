"""MONAI's Swin transformer, the encoder of Swin UNETR, with the names of its `swinViT`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.blocks.unetr_block import UnetrBasicBlock
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .base import Encoder, preset
from .strides import triple
from .tokens import fine_level

SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (12, (2, 2, 2), (2, 4, 8)),
    "small": (24, (2, 2, 2, 2), (3, 6, 12, 24)),
    "base": (48, (2, 2, 2, 2), (3, 6, 12, 24)),
}
"""Width of the first stage, blocks and heads of each.

`base` is the Swin UNETR of Tang et al., of VoCo-B and of SuPreM.
"""


class SwinEncoder(Encoder):
    """Attention inside shifted windows, tokens of 2 voxels, merged by 2 after every stage.

    Source:
        Tang et al., "Self-supervised pre-training of Swin transformers for 3D medical image
        analysis", CVPR 2022, arXiv:2111.14791; MONAI's `SwinTransformer`. Swin UNETR's v2 (He et
        al., MICCAI 2023) adds a residual convolution to each stage. The level at full resolution
        is by default one convolution of the image, where Swin UNETR has a block.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small` or `base`.
        token: Sides of a token in voxels, 1 or 2, a number or one per axis.
        window: Sides of a window in tokens.
        width: Channels of the first stage, doubled by each further one; replaces the size's.
        blocks: Blocks of each stage, one to four stages; replaces the size's.
        heads: Attention heads of each stage; replaces the size's.
        v2: Whether each stage begins with a residual convolution, as in VoCo v2.
        fine: Channels of a level at full resolution; 0 for none; `block` for Swin UNETR's residual
            block of the image, as wide as the first stage.
        drop_path: Fraction of the residual branches that training leaves out in the last block.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = ("Hatamizadeh, A. and others", "Swin UNETR", "BrainLes", 2021, "arXiv:2201.01266")
    note = "windows shrink to small maps, and pad others"
    sizes: ClassVar = {
        "tiny": (187_120, (1, 2, 4, 8, 16)),
        "small": (2_172_570, (1, 2, 4, 8, 16, 32)),
        "base": (8_063_298, (1, 2, 4, 8, 16, 32)),
    }
    small: ClassVar = {"width": 4, "blocks": [2, 1], "heads": [2, 2], "window": 4, "fine": 4}

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        token: int | Sequence[int] = 2,
        window: int | Sequence[int] = 7,
        width: int | None = None,
        blocks: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        v2: bool = False,
        fine: int | str = 16,
        drop_path: float = 0.0,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_blocks, own_heads = preset(size, SIZES)
        width, counts, many = width or own_width, blocks or own_blocks, heads or own_heads
        _check(width, counts, many)
        step = triple(token)
        if any(side not in (1, 2) for side in step):
            raise SettingsError("token must have sides of 1 or 2 voxels", found=step)
        self.inner = SwinTransformer(
            in_channels,
            width,
            triple(window),
            step,
            tuple(counts),
            tuple(many),
            drop_path_rate=drop_path,
            use_checkpoint=checkpoint_activations,
            use_v2=v2,
        )
        if fine and step == (1, 1, 1):
            raise SettingsError("fine must be 0 with tokens of one voxel", found=fine)
        if isinstance(fine, str) and fine != "block":
            raise SettingsError("fine must be a number or block", found=fine)
        # The decoder of Swin UNETR reads a residual block of the image, its `encoder1`.
        if isinstance(fine, str):
            self.fine = UnetrBasicBlock(3, in_channels, width, 3, 1, "instance", res_block=True)
        else:
            self.fine = fine_level(in_channels, fine) if fine else None
        wide = width if isinstance(fine, str) else fine
        self.stages, self.v2 = len(counts), v2
        self.in_channels = in_channels
        levels = range(self.stages + 1)
        self.channels = (*([wide] if wide else []), *(width * 2**k for k in levels))
        self.strides = (*([(1, 1, 1)] if fine else []), *(_scaled(step, 2**k) for k in levels))
        names = {"block": ["fine.layer.conv1.conv.weight", "fine.layer.conv3.conv.weight"]}
        own_stem = names.get(str(fine), ["fine.0.weight"] if fine else [])
        self.stem = ("inner.patch_embed.proj.weight", *own_stem)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level, normalised over channels as Swin UNETR's."""
        x = self.inner.pos_drop(self.inner.patch_embed(image))
        maps = [] if self.fine is None else [self.fine(image)]
        maps.append(self.inner.proj_out(x, True))
        for number in range(1, self.stages + 1):
            if self.v2:
                x = self._stage(f"layers{number}c")(x.contiguous())
            x = self._stage(f"layers{number}")(x.contiguous())
            maps.append(self.inner.proj_out(x, True))
        return maps

    def _stage(self, name: str) -> nn.Module:
        return self.inner.get_submodule(f"{name}.0")


def _scaled(step: IntTriple, by: int) -> IntTriple:
    return step[0] * by, step[1] * by, step[2] * by


def _check(width: int, blocks: Sequence[int], heads: Sequence[int]) -> None:
    if not len(blocks) == len(heads) or not 1 <= len(blocks) <= 4 or min(*blocks, *heads) < 1:
        raise SettingsError(
            "blocks and heads must have one entry for each of one to four stages",
            found=f"{tuple(blocks)} and {tuple(heads)}",
            remedy="give both",
        )
    for stage, count in enumerate(heads):
        if width < 1 or (width * 2**stage) % count:
            raise SettingsError(
                "heads must divide the width of their stage",
                found=f"{count} heads, width {width * 2**stage}",
                remedy="choose heads that divide it, or another width",
            )
