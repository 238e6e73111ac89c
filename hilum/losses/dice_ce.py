"""Dice plus cross-entropy, the default loss."""

from __future__ import annotations

from torch import Tensor

from .base import Level, Loss, cross_entropy, dice_loss


class DiceCeLoss(Loss):
    r"""Dice plus cross-entropy, without smoothing.

    Over the voxels whose label is known, with softmax probabilities $p$ and one-hot reference $g$,

    $$w_d \, (1 - \operatorname{mean}_c 2 \sum p_c g_c / (\sum p_c + \sum g_c))
      + w_c \operatorname{mean} (-\log p_{g}),$$

    $c$ running over the foreground classes that the patch (with `batch_dice`: the batch) holds.

    Source:
        Dice: Milletari et al., "V-Net", 3DV 2016, arXiv:1606.04797, without squares; the sum and
        the weights of the levels as in nnU-Net. Leaving out absent classes is ours.

    Args:
        dice: Weight of the Dice term.
        cross_entropy: Weight of the cross-entropy.
        batch_dice: One Dice over the batch, not one per patch.
    """

    citation = (
        "Milletari, F. and Navab, N. and Ahmadi, S.-A.",
        "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
        "3DV",
        2016,
        "arXiv:1606.04797",
    )

    any_targets = True

    def __init__(
        self, *, dice: float = 1.0, cross_entropy: float = 1.0, batch_dice: bool = True
    ) -> None:
        super().__init__(dice_loss=dice, cross_entropy=cross_entropy)
        self.batch_dice = batch_dice

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return Dice loss and cross-entropy."""
        return {
            "dice_loss": dice_loss(level, self.batch_dice),
            "cross_entropy": cross_entropy(level),
        }
