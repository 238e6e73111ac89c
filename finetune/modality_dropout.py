"""Train one network for every subset of modalities: hide some on schedule, teach by the whole."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hilum.core.settings import Settings
from hilum.core.types import IGNORE, Available


class MissingSettings(Settings):
    """Which modalities to hide while training, from when on, and what to teach with them."""

    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="final probability of dropping each modality of a patch; the last one stays",
    )
    start: float = Field(
        0.0, ge=0, lt=1, description="start of modality dropout, fraction of the steps"
    )
    ramp: float = Field(
        0.0,
        ge=0,
        le=1,
        description="linear ramp of the dropout probability after start, fraction of the steps",
    )
    distillation: float = Field(
        0.0,
        ge=0,
        description="weight of the distillation loss (all modalities -> subset) once dropout has "
        "begun, no unit; 0: none",
    )
    temperature: float = Field(
        2.0, gt=0, description="temperature of the distillation loss, no unit"
    )


def chance(settings: MissingSettings, step: int, steps: int) -> float:
    """Return the probability of a modality to be hidden at a step, counted from 0.

    It is 0 before `start`, rises in a straight line over `ramp`, and stays.

    Examples:
        >>> rule = MissingSettings(dropout=0.4, start=0.5, ramp=0.25)
        >>> [round(chance(rule, step, 100), 2) for step in (0, 49, 50, 62, 75, 99)]
        [0.0, 0.0, 0.0, 0.19, 0.4, 0.4]
    """
    first, rising = settings.start * steps, settings.ramp * steps
    if step < first:
        return 0.0
    return settings.dropout * (min((step - first) / rising, 1.0) if rising else 1.0)


def hide(available: Available, p: float, generator: torch.Generator) -> Available:
    """Mask each modality at random, but never the last one that a case has.

    Where all would go, the one with the highest draw stays.

    Args:
        available: `[B, M]`.
        p: Probability.
        generator: On the CPU, so that a run draws the same wherever it computes.
    """
    luck = torch.rand(available.shape, generator=generator).to(available.device, non_blocking=True)
    luck = torch.where(available, luck, torch.full_like(luck, -1.0))
    kept = available & (luck >= p)
    best = torch.zeros_like(available).scatter_(1, luck.argmax(1, keepdim=True), True) & available
    return torch.where(kept.any(1, keepdim=True), kept, best)


def lesson(full: Tensor, partial: Tensor, label: Tensor, temperature: float) -> Tensor:
    r"""Return how far a prediction from a subset is from that of all modalities.

    $$T^2 \operatorname{mean}_v \operatorname{KL}\bigl(\operatorname{softmax}(z_{full}/T) \,\|\,
      \operatorname{softmax}(z_{part}/T)\bigr)$$

    over the voxels whose label is known. The full prediction is not changed by it.

    Source:
        Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531; from
        all modalities to some as Hu et al., "Knowledge distillation from multi-modal to mono-modal
        segmentation networks", MICCAI 2020, arXiv:2106.09564; here both are one network.

    Args:
        full: Logits `[B, classes, D, H, W]` from all modalities.
        partial: The same from a subset.
        label: uint8 `[B, 1, D, H, W]`; 255 is unknown.
        temperature: Softens both.
    """
    with torch.autocast(full.device.type, enabled=False):
        teacher = (full.detach().float() / temperature).softmax(1)
        student = (partial.float() / temperature).log_softmax(1)
        known = label != IGNORE
        # Selected before the mean: unknown voxels have no gradient, even if they are NaN.
        each = F.kl_div(student, teacher, reduction="none").sum(1, keepdim=True)
        total = torch.where(known, each, torch.zeros_like(each)).sum()
        return total * temperature**2 / known.sum().clamp(min=1)
