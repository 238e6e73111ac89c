"""Means of feature maps over what lies in a window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .settings import Level


def pooled(pyramids: Sequence[Sequence[Tensor]], share: Tensor, levels: Level = "all") -> Tensor:
    """Return the mean of feature maps, weighted by how much of each place counts.

    Args:
        pyramids: Maps `[B, C_i, d, h, w]` of any size, finest first.
        share: float `[B, 1, D, H, W]`: what counts of each voxel, 0 to 1; somewhere above 0.
        levels: Which maps of each pyramid.

    Returns:
        `[B, sum of C_i]`; NaN for a window in which nothing counts.
    """
    means = []
    for pyramid in pyramids:
        for level in _chosen(pyramid, levels):
            weight = F.adaptive_avg_pool3d(share, list(level.shape[2:]))  # pyright: ignore[reportArgumentType]
            total = (level.float() * weight).sum((2, 3, 4))
            means.append(total / weight.sum((2, 3, 4)))
    return torch.cat(means, 1)


def _chosen(pyramid: Sequence[Tensor], levels: Level) -> Sequence[Tensor]:
    if levels == "all":
        return pyramid
    return pyramid[:1] if levels == "finest" else pyramid[-1:]
