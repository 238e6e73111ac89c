"""Dice and cross-entropy with deep supervision; unknown voxels never count."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.types import IGNORE
from .settings import LossSettings


class DiceCrossEntropy:
    r"""Dice plus cross-entropy, averaged over levels with weights 1, 1/2, 1/4, ... that sum to 1.

    Per level, over the voxels whose label is known, with softmax probabilities $p$ and one-hot
    reference $g$,

    $$w_d \, (1 - \operatorname{mean}_c 2 \sum p_c g_c / (\sum p_c + \sum g_c))
      + w_c \operatorname{mean} (-\log p_{g}),$$

    $c$ running over the foreground classes. A class that the patch (with `batch_dice`: the batch)
    does not hold has no Dice: any smoothing would either reward an empty prediction or punish all
    others alike, so there only the cross-entropy counts. No smoothing is needed then. A coarse
    level is compared with every n-th voxel of the label.

    Source:
        Dice: Milletari et al., "V-Net", 3DV 2016, arXiv:1606.04797, without squares; the sum and
        the weights of the levels as in nnU-Net. Leaving out absent classes is ours.

    Args:
        settings: Weights of the terms.
    """

    def __init__(self, settings: LossSettings | None = None) -> None:
        self.settings = settings or LossSettings.model_validate({})

    def __call__(self, logits: Sequence[Tensor], label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise, and its terms at full resolution, detached.

        Args:
            logits: `[B, classes, d, h, w]` of each level, finest first.
            label: uint8 `[B, 1, D, H, W]`; 255 is unknown.
        """
        weights = [0.5**level for level in range(len(logits))]
        total, named = logits[0].new_zeros((), dtype=torch.float32), {}
        for level, (weight, scores) in enumerate(zip(weights, logits, strict=True)):
            dice, cross_entropy = self.terms(scores, at_resolution(label, scores.shape[2:]))
            one = self.settings.dice * dice + self.settings.cross_entropy * cross_entropy
            total = total + weight / sum(weights) * one
            if level == 0:
                named = {"dice_loss": dice.detach(), "cross_entropy": cross_entropy.detach()}
        return total, named

    def terms(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Dice loss and the cross-entropy of one level."""
        # Sums over a volume need float32, whatever the network computed in.
        with torch.autocast(logits.device.type, enabled=False):
            scores = logits if logits.dtype == torch.float64 else logits.float()
            known = label != IGNORE
            target = torch.where(known, label, torch.zeros_like(label))[:, 0].long()
            voxelwise = F.cross_entropy(scores, target, reduction="none")[:, None]
            count = known.sum().clamp(min=1)
            cross_entropy = torch.where(known, voxelwise, voxelwise.new_zeros(())).sum() / count
            return self._dice(scores, target, known), cross_entropy

    def _dice(self, scores: Tensor, target: Tensor, known: Tensor) -> Tensor:
        probability = scores.softmax(1)[:, 1:]
        classes = torch.arange(1, scores.shape[1], device=scores.device).view(1, -1, 1, 1, 1)
        reference = target[:, None] == classes  # 0 where unknown
        probability = torch.where(known, probability, probability.new_zeros(()))
        axes = (0, 2, 3, 4) if self.settings.batch_dice else (2, 3, 4)
        overlap = torch.where(reference, probability, probability.new_zeros(())).sum(axes)
        volume = reference.sum(axes)
        held = volume > 0
        # The denominator is at least 1 where the class is held, and unused elsewhere.
        dice = 2 * overlap / (probability.sum(axes) + volume).clamp(min=1e-6)
        losses = torch.where(held, 1 - dice, dice.new_zeros(()))
        return losses.sum() / held.sum().clamp(min=1)


def at_resolution(label: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the label at other sides: the voxel nearest to each centre, so 255 stays 255."""
    if tuple(label.shape[2:]) == tuple(sides):
        return label
    for axis, (new, old) in enumerate(zip(sides, label.shape[2:], strict=True), 2):
        place = (torch.arange(new, device=label.device) + 0.5) * (old / new)
        label = label.index_select(axis, place.long().clamp(max=old - 1))
    return label
