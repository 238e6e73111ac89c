"""Bottleneck fusion: the modalities talk to each other only through a few learned tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, masked_mean, presence


class BottleneckFusion(FusionStrategy):
    r"""At the coarse levels, tokens read every available modality, and each modality reads them.

    $$Z = \frac{\sum_m a_m (Z_0 + \operatorname{attn}(Z_0, F_m))}{\sum_m a_m}, \qquad
      F_m' = F_m + W_O \operatorname{attn}(F_m, Z).$$

    Time is linear in the number of voxels. $W_O$ starts at zero: at step 0 this is mean fusion.

    Source:
        Nagrani et al., "Attention Bottlenecks for Multimodal Fusion", NeurIPS 2021,
        arXiv:2107.00135. Ours has one exchange per level and no self-attention inside a modality.

    Args:
        tokens: Number of tokens.
        heads: Attention heads; must divide the channels of the levels that take part.
        min_stride: Finest stride (the smallest of the three axes) that takes part.
    """

    citation = (
        "Nagrani, A. and others",
        "Attention Bottlenecks for Multimodal Fusion",
        "NeurIPS",
        2021,
        "arXiv:2107.00135",
    )
    small: ClassVar = {"heads": 2, "min_stride": 2, "tokens": 3}

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        tokens: int = 16,
        heads: int = 4,
        min_stride: int = 4,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder = make_decoder(channels, strides)
        self.exchange = nn.ModuleDict(
            {
                str(level): Exchange(channels[level], self.modalities, tokens, heads)
                for level, stride in enumerate(strides)
                if min(stride) >= min_stride
            }
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, exchange through the tokens, decode the mean."""
        check_available(available)
        present = presence(self, available)
        fused = []
        for level, maps in enumerate(encode(self, volumes, present)):
            if str(level) in self.exchange:
                maps = self.exchange[str(level)](maps, present)
            fused.append(masked_mean(maps, present))
        return self.decoder(fused)


class Exchange(nn.Module):
    """One round through the tokens of a level.

    Args:
        channels: Of every map.
        modalities: Names of the maps.
        tokens: How many.
        heads: Must divide `channels`.
    """

    def __init__(self, channels: int, modalities: Sequence[str], tokens: int, heads: int) -> None:
        super().__init__()
        if channels % heads or tokens < 1:
            raise ValueError(f"heads must divide channels, got {heads=}, {channels=}, {tokens=}")
        self.tokens = nn.Parameter(torch.randn(tokens, channels) * 0.02)
        self.norm = nn.LayerNorm(channels)
        self.collect = nn.ModuleDict({name: Attend(channels, heads) for name in modalities})
        self.spread = nn.ModuleDict({name: Attend(channels, heads) for name in modalities})
        for name in modalities:
            nn.init.zeros_(self.spread[name].out.weight)  # pyright: ignore
            nn.init.zeros_(self.spread[name].out.bias)  # pyright: ignore

    def forward(self, maps: Maps, present: Mapping[str, Tensor]) -> Maps:
        """Return maps that know of each other what passed through the tokens."""
        shape = next(iter(maps.values())).shape
        voxels = {
            name: self.norm(rearrange(x, "b c d h w -> b (d h w) c")) for name, x in maps.items()
        }
        start = self.tokens.expand(shape[0], -1, -1)
        heard = {name: start + self.collect[name](start, x) for name, x in voxels.items()}
        flat = {name: row.flatten(2) for name, row in present.items()}
        tokens = self.norm(masked_mean(heard, flat))
        return {
            name: x
            + rearrange(
                self.spread[name](voxels[name], tokens), "b (d h w) c -> b c d h w",
                d=shape[2], h=shape[3],
            )
            for name, x in maps.items()
        }  # fmt: skip


class Attend(nn.Module):
    """Multi-head attention of one set of tokens to another."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.memory = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, own: Tensor, seen: Tensor) -> Tensor:
        """Return what each token of `own`, `[B, N, C]`, finds in `seen`, `[B, K, C]`."""
        q = rearrange(self.query(own), "b n (h c) -> b h n c", h=self.heads)
        k, v = rearrange(self.memory(seen), "b n (two h c) -> two b h n c", two=2, h=self.heads)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.out(rearrange(found, "b h n c -> b n (h c)"))
