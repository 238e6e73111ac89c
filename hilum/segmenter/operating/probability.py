"""From logits to probabilities: of classes, or of regions that may overlap."""

from __future__ import annotations

import torch
from torch import Tensor


def probability_of(logits: Tensor, overlapping: bool) -> Tensor:
    """Return the probability of each output `[B, classes, ...]`, the background's first.

    Args:
        logits: `[B, classes, ...]`.
        overlapping: Whether the outputs are regions: each then has the sigmoid of how far it is
            above the background, whose probability is what is left by the likeliest region. Of one
            region that is the softmax.
    """
    if not overlapping:
        return logits.softmax(1)
    found = (logits[:, 1:] - logits[:, :1]).sigmoid()
    return torch.cat([1 - found.amax(1, keepdim=True), found], 1)
