"""Cross-attention fusion: the features of each modality query those of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple
from hilum.core.types import Available, Volume

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, masked_mean, presence
from .windows import around, join, split, window_of


class CrossAttentionFusion(FusionStrategy):
    r"""An encoder per modality; at the coarse levels each one reads the others; then one decoder.

    At every level whose stride is at least `min_stride`, with queries of one modality and keys and
    values of all others that the case has,

    $$F_m' = F_m + a \, W_O \operatorname{softmax}(Q_m K_{-m}^\top / \sqrt{d}) V_{-m},$$

    where $a$ is 0 if there is no other. $W_O$ starts at zero: at step 0 the encoders are
    untouched, so pretrained ones are not disturbed. The decoder gets the mean over the available
    modalities, at every level.

    Time grows with the square of the tokens. So levels of a stride below `global_stride`, and
    grids of more than `max_tokens`, are cut into windows; the keys of a window are its voxels and
    `halo` voxels around it, so that a voxel at its border sees to both sides.

    Source:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3.2.
        The zero start and the masked mean are ours.

    Args:
        heads: Attention heads; must divide the channels of the levels that attend.
        min_stride: Finest stride (the smallest of the three axes) that attends; above the coarsest
            level's, none does, and the strategy is a mean of features.
        global_stride: Levels from this stride on attend as a whole.
        max_tokens: Largest number of voxels that attend as a whole.
        window: Side of a window; one with more than its cube is cut.
        halo: Voxels around a window that are keys, too.
    """

    citation = (
        "Vaswani, A. and others",
        "Attention Is All You Need",
        "NeurIPS",
        2017,
        "arXiv:1706.03762",
    )
    small: ClassVar = {"heads": 2, "min_stride": 2}

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        heads: int = 4,
        min_stride: int = 8,
        global_stride: int = 16,
        max_tokens: int = 4096,
        window: int = 8,
        halo: int = 2,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[name] for name in self.modalities])
        self.decoder = make_decoder(channels, strides)
        most = {
            level: max_tokens if min(stride) >= global_stride else min(window**3, max_tokens)
            for level, stride in enumerate(strides)
            if min(stride) >= min_stride
        }
        self.attention = nn.ModuleDict(
            {
                f"{name}_{level}": CrossAttention(channels[level], heads, most[level], halo)
                for level in most
                for name in (self.modalities if len(self.modalities) > 1 else ())
            }
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, let them read each other, decode their mean."""
        check_available(available)
        present = presence(self, available)
        fused = []
        for level, maps in enumerate(encode(self, volumes, present)):
            fused.append(masked_mean(self._enriched(level, maps, present), present))
        return self.decoder(fused)

    def insight(self, volumes: Volumes, available: Available) -> dict[str, Tensor]:
        """Return how much of each modality's coarsest map comes from the others, 0 to 1."""
        present = presence(self, available)
        level, maps = list(enumerate(encode(self, volumes, present)))[-1]
        found = {}
        for name, new in self._enriched(level, maps, present).items():
            more = (new - maps[name]).norm(dim=1, keepdim=True)
            share = more / (more + maps[name].norm(dim=1, keepdim=True)).clamp(min=1e-12)
            found[f"attention_{name}"] = torch.where(present[name], share, torch.zeros_like(share))
        return found

    def _enriched(self, level: int, maps: Maps, present: Mapping[str, Tensor]) -> Maps:
        """Return the maps of a level after each has read the others, if they attend there."""
        if f"{self.modalities[0]}_{level}" not in self.attention:
            return maps
        return {
            name: self.attention[f"{name}_{level}"](
                maps[name],
                [maps[other] for other in self.modalities if other != name],
                torch.cat([present[o].view(-1, 1) for o in self.modalities if o != name], 1),
            )
            for name in self.modalities
        }


class CrossAttention(nn.Module):
    """Let every voxel of one map attend to all voxels of other maps on the same grid.

    Args:
        channels: Channels of every map.
        heads: Attention heads; must divide `channels`.
        max_tokens: Largest window, in voxels.
        halo: Voxels around a window that its voxels see, too.

    Raises:
        ValueError: If `heads` does not divide `channels`, or a window would be empty.
    """

    def __init__(
        self, channels: int, heads: int = 4, max_tokens: int = 4096, halo: int = 0
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads must divide channels, got {heads=} and {channels=}")
        if max_tokens < 1 or halo < 0:
            raise ValueError(f"max_tokens must be at least 1, halo 0, got {max_tokens} and {halo}")
        self.heads, self.max_tokens, self.halo = heads, max_tokens, halo
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
        window = window_of(own.shape[2:], self.max_tokens)
        tokens = self.norm(split(own, window))
        memory, inside = self._memory(others, window)
        size, windows = inside.shape[1], inside.shape[0]
        # By broadcasting: a repeat by the batch would be fixed when the network is exported.
        mask = present.repeat_interleave(size, 1)[:, None] & inside.repeat(1, len(others))
        mask = mask.flatten(0, 1)
        # A case without any other modality attends to what it must not see, and is zeroed below:
        # a row that may see nothing would be NaN, in its gradient too.
        lonely = ~present.any(1)
        mask = mask | lonely.repeat_interleave(windows)[:, None]
        q = rearrange(self.query(tokens), "b n (h c) -> b h n c", h=self.heads)
        k, v = rearrange(memory, "b n (two h c) -> two b h n c", two=2, h=self.heads)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        found = self.out(rearrange(found, "b h n c -> b n (h c)"))
        found = join(found, window, own.shape)
        return own + torch.where(lonely.view(-1, 1, 1, 1, 1), torch.zeros_like(found), found)

    def _memory(self, others: Sequence[Tensor], window: IntTriple) -> tuple[Tensor, Tensor]:
        """Return keys and values of each window, `[B * windows, n, 2C]`, and which are voxels."""
        found = []
        for other in others:
            # Projected before it is cut: a voxel lies in several windows and their halos.
            projected = self.memory(self.norm(other.movedim(1, -1))).movedim(-1, 1)
            found.append(around(projected, window, self.halo))
        return torch.cat([tokens for tokens, _ in found], 1), found[0][1]
