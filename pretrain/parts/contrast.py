"""What contrastive tasks share: a projection to the unit sphere, and NT-Xent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Projection(nn.Module):
    """Two linear layers with ReLU between them; `[B, channels]` to unit vectors `[B, width]`.

    Source:
        Chen et al., "SimCLR", ICML 2020, arXiv:2002.05709, section 4.2. Without batch norm, so that
        no sample depends on its mates beyond the loss.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, width)
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Return unit vectors."""
        return F.normalize(self.layers(pooled).float(), dim=1)


def nt_xent(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    r"""Return the normalised-temperature cross-entropy between two views of each sample.

    $$L = \frac{1}{2B} \sum_i -\log
      \frac{e^{z_i \cdot z_{p(i)} / T}}{\sum_{k \neq i} e^{z_i \cdot z_k / T}},$$

    over the $2B$ views, $p(i)$ the other view of the same sample.

    Source:
        Chen et al., "SimCLR", ICML 2020, arXiv:2002.05709, equation 1.

    Args:
        one: Unit vectors `[B, C]` of the first views.
        two: The same of the second.
        temperature: Above 0.
    """
    with torch.autocast(one.device.type, enabled=False):
        keys = torch.cat([one, two]).float()
        likeness = keys @ keys.T / temperature
        likeness.fill_diagonal_(-torch.inf)
        count = len(one)
        order = torch.arange(2 * count, device=one.device)
        return F.cross_entropy(likeness, (order + count) % (2 * count))
