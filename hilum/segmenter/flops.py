"""What one patch costs a segmenter, in floating point operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .inference.predict_case import evaluating
from .segmenter import Segmenter


def flops(segmenter: Segmenter) -> int:
    """Return the floating point operations of one patch with every modality."""
    # The counter hooks what requires a gradient, and fails at views of parameters without one.
    learning = [weight for weight in segmenter.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        with evaluating(segmenter), torch.no_grad(), FlopCounterMode(display=False) as counter:
            segmenter(*_patch(segmenter))
    finally:
        for weight in learning:
            weight.requires_grad_(True)
    return int(counter.get_total_flops())


def training_flops(segmenter: Segmenter) -> int:
    """Return the operations of one patch forward and backward, through what learns.

    Those of the network: the loss, augmentation and optimiser are a small part next to it.
    """
    learning = [weight for weight in segmenter.parameters() if weight.requires_grad]
    with evaluating(segmenter), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        levels = segmenter(*_patch(segmenter))
        total = torch.stack([level.sum() for level in levels]).sum()
        torch.autograd.grad(total, learning, allow_unused=True)
    return int(counter.get_total_flops())


def _patch(segmenter: Segmenter) -> tuple[Tensor, Tensor]:
    """Return an empty patch, and that it has every modality."""
    device = next(segmenter.parameters()).device
    count = len(segmenter.modalities)
    image = torch.zeros((1, count, *segmenter.config.patch), device=device)
    return image, torch.ones((1, count), dtype=torch.bool, device=device)
