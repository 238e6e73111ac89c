"""The organ head: channels that learn organs, and are background when nodes are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hilum.losses.dice_ce import DiceCeLoss


def folded(logits: Tensor, classes: int) -> Tensor:
    """Return logits of the classes alone; the organs' are part of the background.

    Probabilities of the classes stay as they are: that of the background becomes the sum of its own
    and of the organs'.

    Args:
        logits: `[B, classes + organs, D, H, W]`.
        classes: Background included.
    """
    if logits.shape[1] == classes:
        return logits
    rest = torch.cat([logits[:, :1], logits[:, classes:]], 1)
    background = rest.float().logsumexp(1, keepdim=True).to(logits.dtype)
    return torch.cat([background, logits[:, 1:classes]], 1)


def organ_loss(logits: Sequence[Tensor], label: Tensor) -> Tensor:
    """Return Dice plus cross-entropy of classes and organs together.

    Args:
        logits: Of each level, organs included.
        label: uint8 `[B, 1, D, H, W]`, the second of `organs.split_organs`; 255 is unknown.
    """
    return DiceCeLoss()(logits, label)[0]
