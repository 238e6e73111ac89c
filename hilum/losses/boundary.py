"""Boundary loss: a wrong voxel counts by its distance from the border of the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .base import Level, Loss, Maps, cross_entropy, dice_loss


class BoundaryLoss(Loss):
    r"""Dice and cross-entropy plus the mean of a signed distance times the error.

    $$w_b \operatorname{mean}_{v, c} \; \phi_c (p_c - g_c)$$

    over known voxels, with $\phi$ in mm: the distance to the nearest voxel of the class outside
    it, minus the distance to the nearest other voxel inside. $\phi = 0$ where a patch does not hold
    the class. $g$ makes a perfect prediction 0, and changes no gradient. It helps near the end of a
    training and is unstable alone; so its weight is small, and Dice and cross-entropy stay.

    Source:
        Kervadec et al., "Boundary loss for highly unbalanced segmentation", MedIA 2021,
        arXiv:1812.07032, equation 5.

    Args:
        dice: Weight of the Dice term.
        cross_entropy: Weight of the cross-entropy.
        boundary: Weight of the boundary term, per mm.
        batch_dice: One Dice over the batch, not one per patch.
        spacing: mm along depth, height, width.
    """

    citation = (
        "Kervadec, H. and others",
        "Boundary Loss for Highly Unbalanced Segmentation",
        "Medical Image Analysis",
        2021,
        "arXiv:1812.07032",
    )

    def __init__(
        self,
        *,
        dice: float = 1.0,
        cross_entropy: float = 1.0,
        boundary: float = 0.01,
        batch_dice: bool = True,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__(dice_loss=dice, cross_entropy=cross_entropy, boundary=boundary)
        self.batch_dice, self.spacing = batch_dice, tuple(spacing)

    def maps(self, label: Tensor, classes: int) -> Maps:
        """Return the signed distance from each class, in mm."""
        patches = label[:, 0].cpu().numpy()
        found = np.zeros((len(patches), classes - 1, *patches.shape[1:]), np.float32)
        for row, patch in zip(found, patches, strict=True):
            for number, place in enumerate(row, 1):
                place[:] = signed_distance(patch == number, self.spacing)
        return Maps(torch.from_numpy(found).to(label.device))

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return Dice loss, cross-entropy and the boundary term."""
        assert level.maps is not None
        error = level.probability - level.reference.to(level.scores.dtype)
        count = level.known.sum().clamp(min=1) * error.shape[1]
        return {
            "dice_loss": dice_loss(level, self.batch_dice),
            "cross_entropy": cross_entropy(level),
            "boundary": (level.maps * error).sum() / count,
        }


def signed_distance(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the mm from each voxel to a mask, negative inside; 0 if it is empty or full."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.float32)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    return (np.asarray(outside) - np.asarray(inside)).astype(np.float32)
