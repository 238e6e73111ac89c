"""Blob loss: each node counts alike, however small."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Level, Loss, Maps, cross_entropy, dice_loss, mean_of_held, overlap_of
from .components import numbered, sums


class BlobLoss(Loss):
    r"""Dice and cross-entropy of the patch, plus the mean Dice loss of its nodes.

    For node $n$ of a class, all other nodes of the class in the patch are taken out:

    $$\operatorname{mean}_n 1 - \frac{2 \sum_{v \in n} p}{\sum_{v \in D_n} p + |n|}, \qquad
      D_n = \text{known voxels in no other node},$$

    the mean over all nodes of the batch. A false alarm counts once for each node.

    Source:
        Kofler et al., "blob loss", IPMI 2023, arXiv:2205.08209; their 2 : 1 of whole and nodes. The
        nodes are compared by Dice only, and without a loop: one pass, however many there are.

    Args:
        dice: Weight of the Dice of the patch.
        cross_entropy: Weight of the cross-entropy of the patch.
        blob: Weight of the nodes.
        batch_dice: One Dice over the batch, not one per patch.
    """

    citation = (
        "Kofler, F. and others",
        "blob loss: Instance Imbalance Aware Loss Functions for Semantic Segmentation",
        "IPMI",
        2023,
        "arXiv:2205.08209",
    )

    def __init__(
        self,
        *,
        dice: float = 1.0,
        cross_entropy: float = 1.0,
        blob: float = 0.5,
        batch_dice: bool = True,
    ) -> None:
        super().__init__(dice_loss=dice, cross_entropy=cross_entropy, blob=blob)
        self.batch_dice = batch_dice

    def maps(self, label: Tensor, classes: int) -> Maps:
        """Return the number of each node."""
        return numbered(label, classes)

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return the terms of the patch, and that of the nodes."""
        return {
            "dice_loss": dice_loss(level, self.batch_dice),
            "cross_entropy": cross_entropy(level),
            "blob": _blobs(level),
        }


def _blobs(level: Level) -> Tensor:
    numbers, probability, inside = level.maps, level.probability, overlap_of(level)
    assert numbers is not None
    overlap = sums(inside, numbers, level.parts)
    volume = sums(level.reference.to(inside.dtype), numbers, level.parts)
    # Whose node it is: the patch and class whose false alarms count against it.
    rows = torch.arange(numbers.shape[0] * numbers.shape[1], device=numbers.device)
    owner = torch.zeros(len(overlap) + 1, dtype=torch.long, device=numbers.device)
    owner[numbers.flatten().long()] = (
        rows.view(*numbers.shape[:2], 1, 1, 1).expand_as(numbers).flatten()
    )
    alarms = (probability - inside).sum((2, 3, 4)).flatten()
    dice = 2 * overlap / (alarms[owner[1:]] + overlap + volume).clamp(min=1e-6)
    return mean_of_held(1 - dice, volume > 0)
