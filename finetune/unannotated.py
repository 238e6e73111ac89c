"""Classes and regions that nobody looked for in a case teach nothing of themselves there."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = -1e4
"""Logit of what cannot be said of a case."""


def marginal(logits: Tensor, annotated: Tensor) -> Tensor:
    """Return logits in which classes that were not looked for count as background.

    The background's probability becomes the sum of its own and of theirs; what was looked for keeps
    its probability. A voxel that is labelled background so says only that it is none of the classes
    that were looked for, and any loss on the result leaves the others alone.

    Source:
        Shi et al., "Marginal loss and exclusion loss for partially supervised multi-organ
        segmentation", Medical Image Analysis 2021, arXiv:2007.03868, equation 4; here on logits.

    Args:
        logits: `[B, classes, D, H, W]`.
        annotated: `[B, classes]`, the background included.

    Returns:
        float32, or float64 if they came so.
    """
    z = logits if logits.dtype == torch.float64 else logits.float()
    known = annotated.view(*annotated.shape, 1, 1, 1)
    parts = torch.where(known[:, 1:], torch.full_like(z[:, 1:], NEVER), z[:, 1:])
    background = torch.cat([z[:, :1], parts], 1).logsumexp(1, keepdim=True)
    classes = torch.where(known[:, 1:], z[:, 1:], torch.full_like(z[:, 1:], NEVER))
    return torch.cat([background, classes], 1)


def never(logits: Tensor, known: Tensor) -> Tensor:
    """Return logits in which regions that were not looked for are surely absent.

    With targets that say so, too, nothing of them reaches the loss, its gradient or the overlap of
    another case; see `LabelTargets`.

    Args:
        logits: `[B, 1 + regions, D, H, W]`.
        known: `[B, 1 + regions]`, whether the label says all of a region.

    Returns:
        float32, or float64 if they came so.
    """
    z = logits if logits.dtype == torch.float64 else logits.float()
    return torch.where(known.view(*known.shape, 1, 1, 1), z, z[:, :1].detach() + NEVER)
