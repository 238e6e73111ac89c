"""Focal Tversky loss: classes that go badly count more, or those that go well."""

from __future__ import annotations

import torch
from torch import Tensor

from hilum.core.errors import SettingsError

from .base import Level, Loss, cross_entropy, mean_of_held
from .tversky import check_shares, tversky_index

STRAIGHT = 1e-6
"""A power below 1 has no finite slope at 0: below this it is a straight line."""


class FocalTverskyLoss(Loss):
    r"""A power of the Tversky loss, plus cross-entropy.

    $$w_t \, \operatorname{mean}_c (1 - T_c)^\gamma + w_c \operatorname{CE},$$

    $T$ as in `tversky`. An exponent below 1 keeps the slope large for nodes that are nearly right,
    one above 1 turns to those that are badly wrong.

    Source:
        Abraham and Khan, "A novel focal Tversky loss function", ISBI 2019, arXiv:1810.07842,
        equation 4; their exponent is 1 / (4/3). The cross-entropy is ours.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives; above 0.
        gamma: The exponent; above 0.
        tversky: Weight of the Tversky term.
        cross_entropy: Weight of the cross-entropy.
        batch: One index over the batch, not one per patch.
    """

    citation = (
        "Abraham, N. and Khan, N. M.",
        "A Novel Focal Tversky Loss Function",
        "ISBI",
        2019,
        "arXiv:1810.07842",
    )

    any_targets = True

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        tversky: float = 1.0,
        cross_entropy: float = 1.0,
        batch: bool = True,
    ) -> None:
        super().__init__(focal_tversky=tversky, cross_entropy=cross_entropy)
        check_shares(alpha, beta)
        if not gamma > 0:
            raise SettingsError(
                "gamma must be above 0", found=gamma, remedy="0.75 is the usual one"
            )
        self.alpha, self.beta, self.gamma, self.batch = alpha, beta, gamma, batch

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return focal Tversky loss and cross-entropy."""
        index, held = tversky_index(level, self.alpha, self.beta, self.batch)
        return {
            "focal_tversky": mean_of_held(powered(1 - index, self.gamma), held),
            "cross_entropy": cross_entropy(level),
        }


def powered(loss: Tensor, exponent: float) -> Tensor:
    """Return a power of a loss in [0, 1] whose slope is finite everywhere."""
    line = loss.clamp(min=0) * STRAIGHT ** (exponent - 1)
    return torch.where(loss < STRAIGHT, line, loss.clamp(min=STRAIGHT) ** exponent)
