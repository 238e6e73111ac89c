"""Primus, a 3D token transformer for segmentation, with nnssl's and nnU-Net's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dynamic_network_architectures.building_blocks.eva import Eva
from dynamic_network_architectures.building_blocks.patch_encode_decode import PatchEmbed
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from timm.layers.pos_embed_sincos import build_rotary_pos_embed
from torch import Tensor, cat, nn

from hilum.core.geometry import IntTriple

from .activation_checkpointing import recompute
from .base import Encoder, preset
from .tokens import (
    TokenPyramid,
    as_map,
    check_heads,
    grid_of,
    resize_positions,
    taps,
    token_grid,
    token_stride,
)

SIZES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    "tiny": (144, 6, 4, (8, 16, 32)),
    "small": (396, 12, 6, (16, 32, 64)),
    "base": (792, 12, 12, (32, 64, 128)),
    "medium": (864, 16, 12, (32, 64, 128)),
    "large": (1056, 24, 16, (32, 64, 128)),
}
"""Width, depth, heads, and channels of the levels finer than the tokens.

`small`, `base`, `medium` and `large` are Primus-S, -B, -M and -L; OpenMind's weights are Primus-M.
"""


class PrimusEncoder(Encoder):
    """EVA-02 blocks with rotary and learned positions on cubes of 8 voxels.

    Learned positions are interpolated to grids other than the trained one, and rotary positions
    count tokens, both as nnU-Net does when it fine-tunes a Primus on other patches.

    Source:
        Wald et al., "Primus: Enforcing Attention Usage for 3D Medical Image Segmentation", 2025,
        arXiv:2503.01835; built by `dynamic_network_architectures`. The levels finer than the
        tokens are ours: see `encoders.tokens`.

    Args:
        in_channels: Channels of the image.
        size: `tiny`, `small`, `base`, `medium` or `large`.
        token: Sides of a token in voxels, powers of two, a number or one per axis.
        trained: Sides in voxels that the learned positions are made for; 160 in OpenMind.
        width: Channels of a token; replaces the size's.
        depth: Blocks; replaces the size's.
        heads: Attention heads; replaces the size's. A head has a multiple of 6 channels.
        features: Channels of the levels finer than the tokens; replaces the size's.
        drop_path: Fraction of the residual branches that training leaves out in the last block.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = (
        "Wald, T. and others",
        "Primus: Enforcing Attention Usage for 3D Medical Image Segmentation",
        "",
        2025,
        "arXiv:2503.01835",
    )
    note = "any number of tokens; positions are interpolated trilinearly from the trained one"
    sizes: ClassVar = {
        "tiny": (1_967_288, (1, 2, 4, 8)),
        "small": (24_093_812, (1, 2, 4, 8)),
        "base": (93_975_272, (1, 2, 4, 8)),
        "medium": (147_383_360, (1, 2, 4, 8)),
        "large": (326_300_288, (1, 2, 4, 8)),
    }
    small: ClassVar = {"width": 24, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32}

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        token: int | Sequence[int] = 8,
        trained: int | Sequence[int] = 96,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        features: Sequence[int] | None = None,
        drop_path: float = 0.0,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_depth, own_heads, own_features = preset(size, SIZES)
        width, depth, heads = width or own_width, depth or own_depth, heads or own_heads
        check_heads(width, heads, 6)
        self.token = token_stride(token)
        self.trained = token_grid(trained, self.token)
        embed = PatchEmbed(self.token, in_channels, width)
        embed.apply(InitWeights_He(1e-2))
        eva = Eva(
            width,
            depth,
            heads,
            ref_feat_shape=self.trained,
            drop_path_rate=drop_path,
            init_values=0.1,
            scale_attn_inner=True,
        )
        # Below `inner.` the names are nnssl's.
        self.inner = nn.ModuleDict({"down_projection": embed, "eva": eva})
        self.pyramid = TokenPyramid(in_channels, width, self.token, features or own_features)
        self.taps = taps(depth, len(self.pyramid.strides) - 1)
        self.in_channels = in_channels
        self.channels, self.strides = self.pyramid.channels, self.pyramid.strides
        self.stem = ("inner.down_projection.proj.weight", "pyramid.fine.0.weight")
        if checkpoint_activations:
            recompute(eva.blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level; the last are the tokens."""
        eva, grid = self._eva(), grid_of(image, self.token)
        tokens = self.inner["down_projection"](image).flatten(2).transpose(1, 2)
        assert eva.pos_embed is not None
        tokens = tokens + resize_positions(eva.pos_embed, self.trained, grid)
        rotary, maps = self._rotary(eva, grid), []
        for number, block in enumerate(eva.blocks):
            tokens = block(tokens, rope=rotary)
            maps += [tokens] * self.taps.count(number)
        maps[-1] = eva.norm(tokens)
        return self.pyramid(image, [as_map(level, grid) for level in maps])

    def _eva(self) -> Eva:
        eva = self.inner["eva"]
        assert isinstance(eva, Eva)
        return eva

    def _rotary(self, eva: Eva, grid: IntTriple) -> Tensor:
        """Return sines and cosines of each token's position."""
        rope = eva.rope
        assert rope is not None
        if grid == self.trained:
            return rope.get_embed()
        known: Tensor = rope.get_embed()
        return cat(
            build_rotary_pos_embed(
                list(grid),
                dim=rope.dim,
                temperature=rope.temperature,
                in_pixels=False,
                device=known.device,
                dtype=known.dtype,
            ),
            -1,
        )
