"""Connected-component Dice and cross-entropy: each node in its own cell of the patch."""

from __future__ import annotations

from torch import Tensor

from .base import Level, Loss, Maps, cross_entropy, dice_loss, mean_of_held, overlap_of
from .components import cells, sums


class CcLoss(Loss):
    r"""Mean over nodes of Dice and cross-entropy in the voxels that are nearest to each.

    The cells of a class are the Voronoi cells of its nodes in the patch, in voxels, found once per
    batch from the augmented label; a patch without nodes of the class is one cell. In each cell,
    over its known voxels,

    $$w_d \, \Bigl(1 - \frac{2 \sum p g}{\sum p + \sum g}\Bigr) + w_c \operatorname{CE},$$

    with one mean over all cells of the batch and of every foreground class; cells without a node
    have no Dice. A false alarm counts against the nearest node only.

    Source:
        Component-wise Dice and cross-entropy as arXiv:2511.17146; cells as in Jaus et al.,
        "Every component counts", AAAI 2025, arXiv:2410.18684.

    Args:
        dice: Weight of the Dice of cells.
        cross_entropy: Weight of the cross-entropy of cells.
        whole: Weight of Dice and of cross-entropy of the patch, next to the cells.
    """

    citation = (
        "Jaus, A. and others",
        "Every Component Counts",
        "AAAI",
        2025,
        "arXiv:2410.18684",
    )

    def __init__(
        self, *, dice: float = 1.0, cross_entropy: float = 1.0, whole: float = 0.0
    ) -> None:
        super().__init__(
            cell_dice=dice, cell_cross_entropy=cross_entropy, dice_loss=whole, cross_entropy=whole
        )

    def maps(self, label: Tensor, classes: int) -> Maps:
        """Return the cell of each voxel."""
        return cells(label, classes)

    def terms(self, level: Level) -> dict[str, Tensor]:
        """Return the terms of the cells, and those of the patch for comparison."""
        numbers, probability, parts = level.maps, level.probability, level.parts
        assert numbers is not None
        overlap = sums(overlap_of(level), numbers, parts)
        volume = sums(level.reference.to(overlap.dtype), numbers, parts)
        known = sums(level.known.to(overlap.dtype), numbers, parts)
        dice = 2 * overlap / (sums(probability, numbers, parts) + volume).clamp(min=1e-6)
        entropy = sums(level.surprise, numbers, parts) / known.clamp(min=1)
        return {
            "cell_dice": mean_of_held(1 - dice, volume > 0),
            "cell_cross_entropy": mean_of_held(entropy, known > 0),
            "dice_loss": dice_loss(level, batch=True),
            "cross_entropy": cross_entropy(level),
        }
