"""What token networks share: position embeddings for any grid, and a pyramid from one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .strides import triple


def resize_positions(embedding: Tensor, trained: IntTriple, grid: IntTriple) -> Tensor:
    """Bring position embeddings `[1, tokens, C]` from the trained grid to another, trilinearly.

    On the trained grid they come back as they are, bit by bit. nnU-Net does the same when it loads
    a network that was pretrained on other patches.
    """
    if grid == trained:
        return embedding
    volume = embedding.float().unflatten(1, trained).movedim(-1, 1)
    volume = F.interpolate(volume, grid, mode="trilinear", align_corners=False)
    return volume.flatten(2).transpose(1, 2).to(embedding.dtype)


def token_stride(patch: int | Sequence[int]) -> IntTriple:
    """Return the sides of a token in voxels, checked: powers of two up to 16."""
    sides = triple(patch)
    if any(side not in (1, 2, 4, 8, 16) for side in sides) or max(sides) < 2:
        raise SettingsError(
            "token must have sides of 1, 2, 4, 8 or 16 voxels, not all of them 1", found=sides
        )
    return sides


def token_grid(trained: int | Sequence[int], token: IntTriple) -> IntTriple:
    """Return how many tokens the trained sides make, checked."""
    sides = triple(trained)
    if any(side < 1 or side % step for side, step in zip(sides, token, strict=True)):
        raise SettingsError(
            f"trained sides must be divisible by token {token}",
            found=sides,
            remedy="choose sides that the token divides",
        )
    return sides[0] // token[0], sides[1] // token[1], sides[2] // token[2]


def pyramid_strides(token: IntTriple) -> tuple[IntTriple, ...]:
    """Return the strides of a pyramid whose coarsest level are the tokens.

    Full resolution, then a fourth, a half and the whole of a token, without repetition.

    Examples:
        >>> pyramid_strides((8, 8, 8))
        ((1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8))
        >>> pyramid_strides((2, 4, 4))
        ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    """
    strides: list[IntTriple] = [(1, 1, 1)]
    for part in (4, 2, 1):
        level = (max(token[0] // part, 1), max(token[1] // part, 1), max(token[2] // part, 1))
        if level not in strides:
            strides.append(level)
    return tuple(strides)


def taps(depth: int, count: int) -> tuple[int, ...]:
    """Return the blocks, from 0, whose outputs feed `count` levels, finest first; the last is last.

    Examples:
        >>> taps(12, 3)
        (3, 7, 11)
        >>> taps(2, 3)
        (0, 0, 1)
    """
    return tuple(max(round(depth * (k + 1) / count) - 1, 0) for k in range(count))


def fine_level(in_channels: int, features: int) -> nn.Sequential:
    """Return a level at full resolution, which no token resolves: one convolution of the image."""
    return nn.Sequential(
        nn.Conv3d(in_channels, features, 3, padding=1),
        nn.InstanceNorm3d(features, affine=True),
        nn.LeakyReLU(inplace=True),
    )


class TokenPyramid(nn.Module):
    """Feature maps finer than the tokens, from the image and from tokens of several depths.

    Source:
        Hatamizadeh et al., "UNETR", WACV 2022, arXiv:2103.10504: transposed convolutions bring
        tokens of early blocks to finer strides, and a convolution of the image is the finest level.

    Args:
        in_channels: Channels of the image.
        width: Channels of a token.
        token: Sides of a token in voxels.
        features: Channels of the levels finer than the tokens, finest first.
    """

    def __init__(
        self, in_channels: int, width: int, token: IntTriple, features: Sequence[int]
    ) -> None:
        super().__init__()
        self.strides = pyramid_strides(token)
        if len(features) < len(self.strides) - 1:
            raise SettingsError(
                f"features must name the {len(self.strides) - 1} levels finer than the tokens",
                found=tuple(features),
            )
        # Of coarse enough tokens there are fewer levels: the finest channels are left out.
        own = tuple(features)[: len(self.strides) - 1]
        self.channels = (*own, width)
        self.fine = fine_level(in_channels, own[0])
        self.ups = nn.ModuleList(
            _up(width, count, token, stride)
            for count, stride in zip(own[1:], self.strides[1:-1], strict=True)
        )

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the levels, finest first.

        Args:
            image: `[B, in_channels, D, H, W]`.
            maps: Token maps `[B, width, ...]`, one per level but the finest, of early blocks first.
        """
        finer = [up(tokens) for up, tokens in zip(self.ups, maps[:-1], strict=True)]
        return [self.fine(image), *finer, maps[-1]]


def _up(width: int, features: int, token: IntTriple, stride: IntTriple) -> nn.Sequential:
    """Return steps of at most 2 per axis from tokens to a stride."""
    left, layers, channels = [t // s for t, s in zip(token, stride, strict=True)], [], width
    while max(left) > 1:
        d, h, w = (2 if side > 1 else 1 for side in left)
        layers += [
            nn.ConvTranspose3d(channels, features, (d, h, w), (d, h, w)),
            nn.InstanceNorm3d(features, affine=True),
            nn.LeakyReLU(inplace=True),
        ]
        left = [left[0] // d, left[1] // h, left[2] // w]
        channels = features
    return nn.Sequential(*layers)


def as_map(tokens: Tensor, grid: IntTriple) -> Tensor:
    """Fold tokens `[B, D*H*W, C]` to a map `[B, C, D, H, W]`."""
    return tokens.transpose(1, 2).unflatten(2, grid).contiguous()


def grid_of(image: Tensor, token: IntTriple) -> IntTriple:
    """Return how many tokens an image makes along each axis."""
    return image.shape[2] // token[0], image.shape[3] // token[1], image.shape[4] // token[2]


def sinusoids(tokens: int, width: int) -> Tensor:
    """Return VideoMAE's fixed embeddings `[1, tokens, width]`: sines and cosines of the index."""
    index = torch.arange(width)
    rates = 10000.0 ** (-2 * (index // 2).double() / width)
    angles = torch.arange(tokens).double()[:, None] * rates
    return torch.where(index % 2 == 0, angles.sin(), angles.cos()).float()[None]


def check_heads(width: int, heads: int, multiple: int = 1) -> None:
    """Refuse heads that do not divide the width into parts of a multiple of `multiple`."""
    if width < 1 or heads < 1 or width % heads or (width // heads) % multiple:
        more = f" into multiples of {multiple}" if multiple > 1 else ""
        raise SettingsError(
            f"heads must divide width{more}",
            found=f"{heads} heads, width {width}",
            remedy="choose heads that divide it, or another width",
        )
