"""What one patch costs a segmenter, in floating point operations."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from .inference.predict_case import evaluating
from .segmenter import Segmenter


def flops(segmenter: Segmenter) -> int:
    """Return the floating point operations of one patch with every modality."""
    device = next(segmenter.parameters()).device
    image = torch.zeros((1, len(segmenter.modalities), *segmenter.config.patch), device=device)
    available = torch.ones((1, len(segmenter.modalities)), dtype=torch.bool, device=device)
    # The counter hooks what requires a gradient, and fails at views of parameters without one.
    learning = [weight for weight in segmenter.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        with evaluating(segmenter), torch.no_grad(), FlopCounterMode(display=False) as counter:
            segmenter(image, available)
    finally:
        for weight in learning:
            weight.requires_grad_(True)
    return int(counter.get_total_flops())
