"""Soft assignment to prototypes by a student and a teacher, kept from collapsing by a centre."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PrototypeHead(nn.Module):
    """A perceptron to unit vectors, and their likeness to prototypes: `[N, channels] -> [N, K]`.

    Source:
        Caron et al., "DINO", ICCV 2021, arXiv:2104.14294, section 3.1 and appendix C.
    """

    def __init__(self, channels: int, prototypes: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width))
        self.prototypes = nn.Parameter(torch.empty(prototypes, width))
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return cosines with every prototype."""
        unit = F.normalize(self.layers(x).float(), dim=-1)
        return unit @ F.normalize(self.prototypes.float(), dim=-1).T


class Centre(nn.Module):
    """The running mean of the teacher's scores, which is taken off before they are sharpened.

    Args:
        prototypes: Scores of a sample.
        momentum: Fraction of the old mean that stays.
    """

    def __init__(self, prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(prototypes))

    def targets(self, scores: Tensor, temperature: float | Tensor) -> Tensor:
        """Return the teacher's probabilities."""
        return ((scores.float() - self.get_buffer("mean")) / temperature).softmax(-1)

    @torch.no_grad()
    def follow(self, scores: Tensor, counts: Tensor | None = None) -> None:
        """Move the mean towards that of a batch; nothing to count changes nothing.

        Args:
            scores: `[N, prototypes]`.
            counts: `[N]` booleans; all rows count if not given.
        """
        scores = scores.float()
        if counts is None:
            counts = scores.new_ones(len(scores), dtype=torch.bool)
        some = counts.sum()
        mean = torch.where(counts[:, None], scores, 0.0).sum(0) / some.clamp(min=1)
        buffer = self.get_buffer("mean")
        buffer.copy_(torch.where(some > 0, buffer.lerp(mean, 1 - self.momentum), buffer))


def cross_entropy(target: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Return `[N]`: the cross-entropy of the student's scores against probabilities."""
    return -(target * (scores.float() / temperature).log_softmax(-1)).sum(-1)


def entropy(probability: Tensor) -> Tensor:
    """Return the mean entropy of rows as a fraction of the largest: 0 one-hot, 1 uniform."""
    each = -(probability * probability.clamp(min=1e-12).log()).sum(-1)
    return each.mean() / math.log(probability.shape[-1])
