"""What a fusion strategy costs: parameters, and operations for one patch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..core.geometry import IntTriple
from .base import FusionStrategy


class Cost(NamedTuple):
    """What one forward pass of one patch takes.

    Attributes:
        parameters: Numbers to learn, each counted once.
        flops: Floating point operations of convolutions, matrix products and attention; a
            multiplication and an addition are two.
    """

    parameters: int
    flops: int


def cost(strategy: FusionStrategy, patch: IntTriple) -> Cost:
    """Count parameters and operations with every modality present.

    Training takes about three times the operations (forward, and twice that backward). The
    strategy's weights, mode and gradients are as before.

    Args:
        strategy: On any device.
        patch: Sides in voxels; must fit the strides of the encoders.
    """
    own = list(strategy.parameters())
    where = own[0].device
    volume = torch.zeros((1, 1, *patch), dtype=own[0].dtype, device=where)
    volumes = dict.fromkeys(strategy.modalities, volume)
    available = torch.ones((1, len(volumes)), dtype=torch.bool, device=where)
    modes = [(part, part.training) for part in strategy.modules()]
    strategy.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            strategy(volumes, available)
    finally:
        for part, mode in modes:
            part.training = mode
    return Cost(sum(p.numel() for p in own), int(counter.get_total_flops()))
