"""Tversky index: false alarms and misses weigh differently."""

from __future__ import annotations

from torch import Tensor

from hilum.core.errors import SettingsError

from .base import Level, Loss, at_least, cross_entropy, mean_of_held, overlap_of


class TverskyLoss(Loss):
    r"""Tversky loss plus cross-entropy: more nodes found, for more false alarms, if beta > alpha.

    $$w_t \, \operatorname{mean}_c (1 - T_c) + w_c \operatorname{CE}, \qquad
      T = \frac{TP}{TP + \alpha FP + \beta FN},$$

    with soft counts over known voxels and $c$ running over the foreground classes that are held.
    $\alpha = \beta = 1/2$ is Dice. Without the cross-entropy a patch without nodes teaches nothing.

    Source:
        Salehi et al., "Tversky loss function for image segmentation", MLMI 2017, arXiv:1706.05721.
        Adding the cross-entropy and leaving out absent classes are ours.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives; above 0.
        tversky: Weight of the Tversky term.
        cross_entropy: Weight of the cross-entropy.
        batch: One index over the batch, not one per patch.
    """

    citation = (
        "Salehi, S. S. M. and Erdogmus, D. and Gholipour, A.",
        "Tversky Loss Function for Image Segmentation",
        "MLMI",
        2017,
        "arXiv:1706.05721",
    )

    any_targets = True

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        tversky: float = 1.0,
        cross_entropy: float = 1.0,
        batch: bool = True,
    ) -> None:
        super().__init__(tversky=tversky, cross_entropy=cross_entropy)
        check_shares(alpha, beta)
        self.alpha, self.beta, self.batch = alpha, beta, batch

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return Tversky loss and cross-entropy."""
        index, held = tversky_index(level, self.alpha, self.beta, self.batch)
        return {
            "tversky": mean_of_held(1 - index, held),
            "cross_entropy": cross_entropy(level),
        }


def check_shares(alpha: float, beta: float) -> None:
    """Check the weights of false positives and false negatives."""
    at_least("alpha", alpha, 0)
    if not beta > 0:
        raise SettingsError("beta must be above 0", found=beta, remedy="0.7 is the usual one")


def tversky_index(level: Level, alpha: float, beta: float, batch: bool) -> tuple[Tensor, Tensor]:
    """Return the index of each class (and patch), and whether the class is there at all."""
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    overlap, volume = overlap_of(level).sum(axes), level.reference.sum(axes)
    excess, missed = level.probability.sum(axes) - overlap, volume - overlap
    whole = overlap + alpha * excess + beta * missed
    return overlap / whole.clamp(min=1e-6), volume > 0
