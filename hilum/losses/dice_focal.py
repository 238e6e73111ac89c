"""Dice plus focal loss."""

from __future__ import annotations

from torch import Tensor

from .base import Level, Loss, at_least, dice_loss


class DiceFocalLoss(Loss):
    r"""Dice plus a cross-entropy that counts easy voxels less.

    $$w_d \, L_{Dice} + w_f \operatorname{mean} \, (1 - p_g)^\gamma (-\log p_g),$$

    the mean over the voxels whose label is known, $p_g$ the probability of the true class.

    Source:
        Lin et al., "Focal loss for dense object detection", ICCV 2017, arXiv:1708.02002, equation
        4; with Dice as Zhu et al., "AnatomyNet", Med Phys 2019, arXiv:1808.05238.

    Args:
        dice: Weight of the Dice term.
        focal: Weight of the focal term.
        gamma: How much less easy voxels count; 0 is the cross-entropy.
        batch_dice: One Dice over the batch, not one per patch.
    """

    citation = (
        "Lin, T.-Y. and others",
        "Focal Loss for Dense Object Detection",
        "ICCV",
        2017,
        "arXiv:1708.02002",
    )

    def __init__(
        self,
        *,
        dice: float = 1.0,
        focal: float = 1.0,
        gamma: float = 2.0,
        batch_dice: bool = True,
    ) -> None:
        super().__init__(dice_loss=dice, focal=focal)
        at_least("gamma", gamma, 0)
        self.gamma, self.batch_dice = gamma, batch_dice

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return Dice loss and focal loss."""
        return {
            "dice_loss": dice_loss(level, self.batch_dice),
            "focal": focal(level, self.gamma).sum() / level.known.sum().clamp(min=1),
        }


def focal(level: Level, gamma: float) -> Tensor:
    """Return the focal loss of each voxel `[B, 1, d, h, w]`; 0 where unknown."""
    if gamma == 0:
        return level.surprise
    # The base is kept off 0, where a power below 1 has no finite slope.
    doubt = -(-level.surprise).expm1()
    return doubt.clamp(min=1e-6) ** gamma * level.surprise
