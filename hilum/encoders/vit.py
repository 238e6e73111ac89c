"""A plain vision transformer on 3D tokens, from timm's blocks and with timm's parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.weight_init import trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import CheckpointError
from hilum.core.weights import read_weights

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
    "tiny": (192, 6, 3, (8, 16, 32)),
    "small": (384, 12, 6, (16, 32, 64)),
    "base": (768, 12, 12, (32, 64, 128)),
}
"""Width, depth, heads, and channels of the levels finer than the tokens.

`small` and `base` are ViT-S and ViT-B.
"""


class VitEncoder(Encoder):
    """Pre-norm transformer blocks with learned positions on cubes of 8 voxels.

    2D weights of timm's ViTs can start it: the kernel of a token is brought to its sides and
    spread over the depth, positions are repeated along it, and blocks are taken as they are; so
    one layer of tokens, of slices that are alike, gives the features of the 2D network.

    Source:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv:2010.11929; timm's
        `Block`. Spreading a kernel follows Carreira and Zisserman, arXiv:1705.07750, section 2.4;
        levels finer than the tokens are ours: see `encoders.tokens`.

    Args:
        in_channels: Channels of the image; a pretrained stem's sum over colours is shared out.
        size: `tiny`, `small` or `base`.
        token: Sides of a token in voxels, powers of two, a number or one per axis.
        trained: Sides in voxels that the positions are made for; other sides are interpolated.
        width: Channels of a token; replaces the size's.
        depth: Blocks; replaces the size's.
        heads: Attention heads; replaces the size's.
        features: Channels of the levels finer than the tokens; replaces the size's.
        drop_path: Fraction of the residual branches that training leaves out in the last block.
        layer_scale: Start of a factor per channel on each branch, as in DINOv2; 0 for none.
        weights: Local `.safetensors` file of a 2D ViT with timm's names, or none.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = (
        "Dosovitskiy, A. and others",
        "An Image is Worth 16x16 Words",
        "ICLR",
        2021,
        "arXiv:2010.11929",
    )
    note = "any number of tokens; positions are interpolated trilinearly from the trained one"
    sizes: ClassVar = {
        "tiny": (3_274_568, (1, 2, 4, 8)),
        "small": (22_655_888, (1, 2, 4, 8)),
        "base": (88_385_312, (1, 2, 4, 8)),
    }
    small: ClassVar = {"width": 12, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32}

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
        layer_scale: float = 0.0,
        weights: str | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_depth, own_heads, own_features = preset(size, SIZES)
        width, depth, heads = width or own_width, depth or own_depth, heads or own_heads
        check_heads(width, heads)
        self.token = token_stride(token)
        self.trained = token_grid(trained, self.token)
        d, h, w = self.trained
        projection = nn.Conv3d(in_channels, width, self.token, self.token)
        self.patch_embed = nn.ModuleDict({"proj": projection})
        self.pos_embed = nn.Parameter(torch.zeros(1, d * h * w, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                qkv_bias=True,
                init_values=layer_scale or None,
                drop_path=drop_path * number / max(depth - 1, 1),
                norm_layer=partial(nn.LayerNorm, eps=1e-6),  # pyright: ignore[reportArgumentType]
            )
            for number in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pyramid = TokenPyramid(in_channels, width, self.token, features or own_features)
        self.taps = taps(depth, len(self.pyramid.strides) - 1)
        self.in_channels = in_channels
        self.channels, self.strides = self.pyramid.channels, self.pyramid.strides
        self.stem = ("patch_embed.proj.weight", "pyramid.fine.0.weight")
        self._start()
        if weights is not None:
            self._load_flat(Path(weights))
        if checkpoint_activations:
            recompute(self.blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level; the last are the tokens."""
        grid, maps = grid_of(image, self.token), []
        tokens = self.patch_embed["proj"](image).flatten(2).transpose(1, 2)
        tokens = tokens + resize_positions(self.pos_embed, self.trained, grid)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            maps += [tokens] * self.taps.count(number)
        maps[-1] = self.norm(tokens)
        return self.pyramid(image, [as_map(level, grid) for level in maps])

    def _start(self) -> None:
        """Start as timm's ViT does."""
        trunc_normal_(self.pos_embed, std=0.02)
        for part in self.blocks.modules():
            if isinstance(part, nn.Linear):
                trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def _load_flat(self, file: Path) -> None:
        """Load a 2D ViT: kernel and positions spread over the depth, class token left out."""
        weights = read_weights(file)
        own = {
            key: value for key, value in self.state_dict().items() if not key.startswith("pyramid.")
        }
        found = {key: weights[key] for key in own if key in weights}
        kernel, places = found.get("patch_embed.proj.weight"), found.get("pos_embed")
        if kernel is not None and kernel.ndim == 4:
            found["patch_embed.proj.weight"] = self._spread(kernel)
        if places is not None and places.ndim == 3:
            found["pos_embed"] = self._stack(places)
        wrong = [k for k, v in own.items() if k not in found or found[k].shape != v.shape]
        if wrong:
            raise CheckpointError(
                "the weights must be those of a 2D ViT of this width and depth, in timm's names",
                file=file,
                found=f"{len(wrong)} of {len(own)} tensors missing, such as {wrong[0]}",
                remedy="set width, depth, heads and layer_scale as in that network",
            )
        self.load_state_dict(found, strict=False)

    def _spread(self, kernel: Tensor) -> Tensor:
        """Return a token's kernel from `[width, colours, h, w]`, the colours' sum shared out."""
        gray = kernel.float().sum(1, keepdim=True) / self.in_channels
        if gray.shape[2:] != self.token[1:]:
            # FlexiViT's resizing: an image enlarged likewise gives the same tokens.
            gray = resample_patch_embed(gray, list(self.token[1:]))
        depth = self.token[0]
        return gray.unsqueeze(2).repeat(1, self.in_channels, depth, 1, 1) / depth

    def _stack(self, places: Tensor) -> Tensor:
        """Return positions `[1, tokens, width]` of the trained grid from a square image's."""
        side = int((places.shape[1]) ** 0.5)
        prefix = places.shape[1] - side * side
        plane = places[:, prefix:].float().unflatten(1, (side, side)).movedim(-1, 1)
        if (side, side) != self.trained[1:]:
            plane = F.interpolate(plane, self.trained[1:], mode="bicubic", align_corners=False)
        volume = plane.unsqueeze(2).expand(-1, -1, self.trained[0], -1, -1)
        return volume.flatten(2).transpose(1, 2)
