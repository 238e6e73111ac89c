"""A teacher that is the running average of its student, and never learns by itself."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from hilum.training.ema import follow


class Teacher(nn.Module):
    """A copy of a network without gradients; its weights are parameters, so they are in the state.

    Args:
        student: What to copy.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)

    def forward(self, *inputs: object) -> object:
        """Return what the network makes of its inputs, without gradients."""
        with torch.no_grad():
            return self.network(*inputs)

    def follow(self, student: nn.Module, momentum: float) -> None:
        """Keep a fraction of `momentum`, take the rest from the student, and its buffers whole."""
        follow(self.network, student, momentum)


def momentum_at(step: int, steps: int, start: float) -> float:
    """Return the momentum after a step: from `start` to 1 along half a cosine.

    Source:
        Grill et al., "BYOL", NeurIPS 2020, arXiv:2006.07733, section 3.3.

    Examples:
        >>> [round(momentum_at(step, 10, 0.9), 3) for step in (0, 5, 10)]
        [0.9, 0.95, 1.0]
    """
    return 1 - (1 - start) * (math.cos(math.pi * step / max(steps, 1)) + 1) / 2
