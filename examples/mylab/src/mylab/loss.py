"""The logarithm of Dice."""

from __future__ import annotations

from torch import Tensor

from hilum.losses.base import Level, Loss, cross_entropy, dice_loss


class LogDiceLoss(Loss):
    r"""Minus the logarithm of Dice, plus cross-entropy: $-\log D + CE$.

    Source:
        Wong et al., "3D segmentation with exponential logarithmic loss for highly unbalanced object
        sizes", MICCAI 2018, arXiv:1809.00076, with both exponents 1.

    Args:
        log_dice: Weight of the first term.
        cross_entropy: Weight of the cross-entropy.
    """

    citation = (
        "Wong, K. C. L. and others",
        "3D Segmentation with Exponential Logarithmic Loss for Highly Unbalanced Object Sizes",
        "MICCAI",
        2018,
        "arXiv:1809.00076",
    )

    def __init__(self, *, log_dice: float = 1.0, cross_entropy: float = 1.0) -> None:
        super().__init__(log_dice=log_dice, cross_entropy=cross_entropy)

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return both terms; a class that is not held has no Dice."""
        dice = 1 - dice_loss(level, batch=True)
        return {"log_dice": -dice.clamp(min=1e-4).log(), "cross_entropy": cross_entropy(level)}
