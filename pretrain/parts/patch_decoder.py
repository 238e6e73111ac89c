"""A light decoder that asks encoded tokens for the patches of one modality."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.geometry import IntTriple


class PatchDecoder(nn.Module):
    """Queries, one per place, attend to the encoded tokens; nothing attends to the queries.

    So the cost grows with places times visible tokens, not with places squared.

    Source:
        Bachmann et al., "MultiMAE", ECCV 2022, arXiv:2204.01678, section 3.3: one decoder per
        modality whose queries cross-attend to all visible tokens. Self-attention among the
        queries is left out as in Fu et al., "Rethinking Patch Dependence for Masked Autoencoders"
        (CrossMAE), arXiv:2401.14391.

    Args:
        width: Channels of an encoded token.
        dim: Channels of the decoder.
        depth: Blocks.
        heads: Attention heads.
        modalities: How many modalities a token may hold.
        values: Values of a patch.
    """

    def __init__(
        self, width: int, dim: int, depth: int, heads: int, modalities: int, values: int
    ) -> None:
        super().__init__()
        self.context = nn.Linear(width, dim)
        self.kinds = nn.Parameter(torch.zeros(modalities, dim))
        self.query = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.kinds, std=0.02)
        nn.init.trunc_normal_(self.query, std=0.02)
        self.blocks = nn.ModuleList(CrossBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, values)

    def forward(
        self, tokens: Tensor, members: Tensor, places: Tensor, grid: IntTriple, mask: Tensor | None
    ) -> Tensor:
        """Return the patches of every place, `[B, places, values]`.

        Args:
            tokens: `[B, K, width]`.
            members: `[B, K, modalities]` booleans: what each token holds.
            places: `[B, K]`, where each token is from.
            grid: Tokens along each axis.
            mask: `[B, 1, 1, K]` booleans, false for tokens that only fill a row.
        """
        where = place_waves(grid, len(self.query), tokens.device)
        context = self.context(tokens) + members.to(self.kinds.dtype) @ self.kinds
        context = context + where[places]
        queries = (self.query + where).expand(len(tokens), -1, -1)
        for block in self.blocks:
            queries = block(queries, context, mask)
        return self.head(self.norm(queries))


class CrossBlock(nn.Module):
    """Pre-norm cross-attention and a perceptron, each added to the queries."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.beside, self.between = (nn.LayerNorm(dim) for _ in range(3))
        self.ask, self.tell = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Return the queries `[B, Q, dim]` after they asked the context `[B, K, dim]`."""
        q = self._split(self.ask(self.before(queries)))
        k, v = (self._split(x) for x in self.tell(self.beside(context)).chunk(2, -1))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        queries = queries + self.out(found.transpose(1, 2).flatten(2))
        return queries + self.mlp(self.between(queries))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def place_waves(grid: IntTriple, dim: int, device: torch.device) -> Tensor:
    """Return fixed embeddings `[places, dim]`: sines and cosines of each index, a third per axis.

    Channels beyond a multiple of 6 are 0.
    """
    part = dim // 6
    rates = 10000.0 ** (-torch.arange(part, device=device) / max(part, 1))
    waves = []
    for axis, side in enumerate(grid):
        angles = torch.arange(side, device=device)[:, None] * rates
        wave = torch.cat([angles.sin(), angles.cos()], 1)
        shape = [side if other == axis else 1 for other in range(3)]
        waves.append(wave.view(*shape, 2 * part).expand(*grid, -1))
    flat = torch.cat(waves, -1).flatten(0, 2)
    return F.pad(flat, (0, dim - 6 * part))
