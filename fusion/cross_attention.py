"""Cross-attention fusion: the features of each modality query those of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.types import Available, Volume
from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import common_pyramid, encode, masked_mean, presence


class CrossAttentionFusion(FusionStrategy):
    r"""An encoder per modality; at the coarse levels each one reads the others; then one decoder.

    At every level whose stride is at least `min_stride`, with queries of one modality and keys and
    values of all others that the case has,

    $$F_m' = F_m + a \, W_O \operatorname{softmax}(Q_m K_{-m}^\top / \sqrt{d}) V_{-m},$$

    where $a$ is 0 if there is no other. $W_O$ starts at zero: at step 0 the encoders are
    untouched, so pretrained ones are not disturbed. The decoder gets the mean over the available
    modalities, at every level.

    Time grows with the square of the tokens. Above `max_tokens` the grid is cut into windows.

    Source:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3.2.
        The zero start and the masked mean are ours.

    Args:
        heads: Attention heads; must divide the channels of the levels that attend.
        min_stride: Finest stride (the smallest of the three axes) that attends; above the coarsest
            level's, none does, and the strategy is a mean of features.
        max_tokens: Largest number of voxels that attend to each other.
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        heads: int = 4,
        min_stride: int = 8,
        max_tokens: int = 4096,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[name] for name in self.modalities])
        self.decoder = make_decoder(channels, strides)
        levels = [i for i, stride in enumerate(strides) if min(stride) >= min_stride]
        self.attention = nn.ModuleDict(
            {
                f"{name}_{level}": CrossAttention(channels[level], heads, max_tokens)
                for level in levels
                for name in (self.modalities if len(self.modalities) > 1 else ())
            }
        )

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return an encoder per modality."""
        return {name: (name,) for name in modalities}

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, let them read each other, decode their mean."""
        check_available(available)
        present = presence(self, available)
        fused = []
        for level, maps in enumerate(encode(self, volumes, present)):
            if f"{self.modalities[0]}_{level}" in self.attention:
                maps = {
                    name: self.attention[f"{name}_{level}"](
                        maps[name],
                        [maps[other] for other in self.modalities if other != name],
                        torch.cat(
                            [present[o].view(-1, 1) for o in self.modalities if o != name], 1
                        ),
                    )
                    for name in self.modalities
                }
            fused.append(masked_mean(maps, present))
        return self.decoder(fused)


class CrossAttention(nn.Module):
    """Let every voxel of one map attend to all voxels of other maps on the same grid.

    Args:
        channels: Channels of every map.
        heads: Attention heads; must divide `channels`.
        max_tokens: Largest window, in voxels.

    Raises:
        ValueError: If `heads` does not divide `channels`, or a window would be empty.
    """

    def __init__(self, channels: int, heads: int = 4, max_tokens: int = 4096) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads must divide channels, got {heads=} and {channels=}")
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
        self.heads, self.max_tokens = heads, max_tokens
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.memory = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, own: Volume, others: Sequence[Tensor], present: Tensor) -> Volume:
        """Return the own map, enriched with what it found in the others.

        Args:
            own: `[B, C, D, H, W]`.
            others: Maps of the same shape.
            present: `[B, len(others)]` booleans; the voxels of an absent map are no keys.
        """
        window = _window(own.shape[2:], self.max_tokens)
        tokens = self.norm(_split(own, window))
        keys = torch.cat([self.norm(_split(other, window)) for other in others], 1)
        size, windows = tokens.shape[1], tokens.shape[0] // own.shape[0]
        mask = present.repeat_interleave(size, 1).repeat_interleave(windows, 0)
        # A case without any other modality attends to what it must not see, and is zeroed below:
        # a row that may see nothing would be NaN, in its gradient too.
        lonely = ~present.any(1)
        mask = mask | lonely.repeat_interleave(windows)[:, None]
        q = rearrange(self.query(tokens), "b n (h c) -> b h n c", h=self.heads)
        k, v = rearrange(self.memory(keys), "b n (two h c) -> two b h n c", two=2, h=self.heads)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        found = self.out(rearrange(found, "b h n c -> b n (h c)"))
        found = _join(found, window, own.shape)
        return own + torch.where(lonely.view(-1, 1, 1, 1, 1), torch.zeros_like(found), found)


def _window(sides: Sequence[int], most: int) -> tuple[int, int, int]:
    """Return the sides of equal windows with at most `most` voxels.

    The longest even side is halved; if none is even, the longest is divided by its smallest factor.
    """
    window = list(sides)
    while window[0] * window[1] * window[2] > most:
        axis = max(range(3), key=lambda i: (window[i] % 2 == 0, window[i]))
        window[axis] //= next(n for n in range(2, window[axis] + 1) if window[axis] % n == 0)
    return window[0], window[1], window[2]


def _split(x: Tensor, window: tuple[int, int, int]) -> Tensor:
    d, h, w = window
    return rearrange(x, "b c (x d) (y h) (z w) -> (b x y z) (d h w) c", d=d, h=h, w=w)


def _join(tokens: Tensor, window: tuple[int, int, int], shape: Sequence[int]) -> Tensor:
    d, h, w = window
    x, y, z = (side // part for side, part in zip(shape[2:], window, strict=True))
    return rearrange(
        tokens, "(b x y z) (d h w) c -> b c (x d) (y h) (z w)", d=d, h=h, w=w, x=x, y=y, z=z
    )
