"""Unified focal loss: asymmetric focal and focal Tversky losses with shared parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from hilum.core.errors import SettingsError

from .base import Level, Loss, at_least, mean_of_held
from .focal_tversky import powered
from .tversky import tversky_index


class UnifiedFocalLoss(Loss):
    r"""Asymmetric unified focal loss: background is made easier, nodes are not.

    $$\lambda L_{maF} + (1 - \lambda) L_{maFT}$$

    $L_{maF}$ is a cross-entropy in which nodes weigh $\delta$, and background
    $(1 - \delta)(1 - p_0)^\gamma$; $L_{maFT}$ the mean over classes, background included, of
    $1 - T_0$ and $(1 - T_c)^{1 - \gamma}$ with $T = TP / (TP + \delta FN + (1 - \delta) FP)$.

    Source:
        Yeung et al., "Unified focal loss", Comput Med Imaging Graph 2022, arXiv:2102.04525,
        equations 12 to 14; the focal part is twice that of MONAI, which takes the mean over
        classes. Absent classes are left out, and several foreground classes count alike.

    Args:
        weight: Fraction of the focal part, lambda.
        delta: Weight of nodes, and of what is missed.
        gamma: Suppression of background, and enhancement of nodes; below 1.
        batch: One index over the batch, not one per patch.
    """

    citation = (
        "Yeung, M. and others",
        "Unified Focal Loss",
        "Computerized Medical Imaging and Graphics",
        2022,
        "arXiv:2102.04525",
    )

    def __init__(
        self, *, weight: float = 0.5, delta: float = 0.6, gamma: float = 0.5, batch: bool = True
    ) -> None:
        at_least("1 - weight", 1 - weight, 0)
        super().__init__(focal=weight, focal_tversky=1 - weight)
        for name, value, usual in (("delta", delta, 0.6), ("gamma", gamma, 0.5)):
            if not 0 < value < 1:
                raise SettingsError(
                    f"{name} must lie between 0 and 1", found=value, remedy=f"{usual} is usual"
                )
        self.delta, self.gamma, self.batch = delta, gamma, batch

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return the two asymmetric parts."""
        return {"focal": self._focal(level), "focal_tversky": self._tversky(level)}

    def _focal(self, level: Level) -> Tensor:
        node = level.target[:, None] > 0
        # The clamp keeps the slope of a root finite at 0.
        doubt = (-(-level.surprise).expm1()).clamp(min=1e-6)
        weight = torch.where(
            node, doubt.new_tensor(self.delta), (1 - self.delta) * doubt**self.gamma
        )
        return (weight * level.surprise).sum() / level.known.sum().clamp(min=1)

    def _tversky(self, level: Level) -> Tensor:
        index, held = tversky_index(level, 1 - self.delta, self.delta, self.batch)
        nodes = powered(1 - index, 1 - self.gamma)
        index, there = tversky_index(_background(level), 1 - self.delta, self.delta, self.batch)
        return mean_of_held(torch.cat([1 - index, nodes], -1), torch.cat([there, held], -1))


def _background(level: Level) -> Level:
    """Return a level whose one foreground class is the background."""
    rest = level.scores[:, 1:].logsumexp(1, keepdim=True)
    scores = torch.cat([rest, level.scores[:, :1]], 1)
    target = ((level.target == 0) & level.known[:, 0]).long()
    return Level(scores, target, level.known)
