"""One level of deep supervision, as the terms of a loss see it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


class Level:
    """One level of deep supervision, as the terms of a loss see it. Final.

    Attributes:
        scores: Logits `[B, classes, d, h, w]` in float32 (float64 if they came so). Unknown voxels
            hold zeros that have no gradient, whatever a term does with them.
        target: Class of each voxel, int64 `[B, d, h, w]`; 0 where unknown.
        known: Booleans `[B, 1, d, h, w]`.
        maps: What `Loss.maps` made of the label, at this resolution.
        parts: Largest number in `maps`, where they are numbers.
        shares: Target of each class `[B, classes, d, h, w]`, 0 where unknown, if `target` is not
            all that there is to say.
        overlapping: Whether a voxel may be of several classes.
    """

    def __init__(
        self,
        scores: Tensor,
        target: Tensor,
        known: Tensor,
        maps: Tensor | None = None,
        parts: int = 0,
        shares: Tensor | None = None,
        overlapping: bool = False,
    ) -> None:
        self.scores, self.target, self.known = scores, target, known
        self.maps, self.parts = maps, parts
        self.shares, self.overlapping = shares, overlapping
        self._kept: dict[str, Tensor] = {}

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return what is made once; Python 3.11's `cached_property` has a lock: a graph break."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    @property
    def probability(self) -> Tensor:
        """Probability of each foreground class `[B, classes - 1, d, h, w]`; 0 where unknown.

        The softmax; where classes overlap the sigmoid of how far each is above the background.
        """
        return self._once("probability", self._probability)

    @property
    def reference(self) -> Tensor:
        """Whether a voxel is of each foreground class `[B, classes - 1, d, h, w]`.

        Booleans; shares from 0 to 1 where the target is not one class.
        """
        return self._once("reference", self._reference)

    @property
    def surprise(self) -> Tensor:
        """Minus the log of the probability of the true class `[B, 1, d, h, w]`; 0 where unknown.

        Of shares the mean by share; of overlapping classes that of each against background.
        """
        return self._once("surprise", self._surprise)

    def _probability(self) -> Tensor:
        scores = self.scores
        if self.overlapping:
            probability = (scores[:, 1:] - scores[:, :1]).sigmoid()
        else:
            probability = scores.softmax(1)[:, 1:]
        return torch.where(self.known, probability, probability.new_zeros(()))

    def _reference(self) -> Tensor:
        if self.shares is not None:
            return self.shares[:, 1:]
        numbers = torch.arange(1, self.scores.shape[1], device=self.scores.device)
        return self.target[:, None] == numbers.view(1, -1, 1, 1, 1)

    def _surprise(self) -> Tensor:
        if self.shares is None:
            voxelwise = F.cross_entropy(self.scores, self.target, reduction="none")[:, None]
        elif self.overlapping:
            above = self.scores[:, 1:] - self.scores[:, :1]
            each = F.binary_cross_entropy_with_logits(above, self.reference, reduction="none")
            voxelwise = each.mean(1, keepdim=True)
        else:
            voxelwise = -(self.shares * self.scores.log_softmax(1)).sum(1, keepdim=True)
        return torch.where(self.known, voxelwise, voxelwise.new_zeros(()))
