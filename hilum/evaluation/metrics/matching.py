"""Which predicted node finds which node of the reference: the hit criterion, one to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from hilum.core.geometry import Grid, nearest_index

from .instances import Instances
from .lesions import overlaps

Hit = Literal["iou", "overlap", "centre", "distance"]
"""When a predicted node finds a node: IoU above a least one; any voxel in common; the centre of the
predicted one lies in the node; the centres lie near each other."""

HIT_IOU = 0.3
"""Of HECKTOR's F1agg."""

Match = set[tuple[int, int]]
"""Numbers of predicted and reference nodes, each used once."""


@dataclass(frozen=True)
class Nearby:
    """How each predicted node lies to each of the reference. Final.

    Attributes:
        iou: `[predicted, reference]`.
        dice: The same.
        distance_mm: Between the centres (mean places of the voxels).
        inside: Whether the voxel at the centre of the predicted one is of the other.
    """

    iou: np.ndarray
    dice: np.ndarray
    distance_mm: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, ours: Instances, theirs: Instances, grid: Grid) -> Nearby:
        """Measure every pair."""
        both = overlaps(ours, theirs)
        shared = both[1:, 1:]
        sizes = both.sum(1)[1:, None] + both.sum(0)[None, 1:]
        centres, others = _centres(ours), _centres(theirs)
        steps = (centres[:, None] - others[None]) * np.asarray(grid.spacing)
        at = theirs.labels[tuple(nearest_index(centres).T)]
        inside = at[:, None] == np.arange(1, theirs.count + 1)
        return cls(
            shared / (sizes - shared), 2 * shared / sizes, np.linalg.norm(steps, axis=-1), inside
        )

    def match(self, hit: Hit, least_iou: float, most_mm: float) -> Match:
        """Return the pairs that count, each node in one at most.

        For `iou`, the pairs with the largest sum of IoU. For the others, as many pairs as there can
        be; among those, the ones that overlap most, or for `distance` lie nearest.
        """
        if hit == "iou":
            return _best(np.where(self.iou > least_iou, self.iou, 0))
        if hit == "distance":
            allowed, closeness = self.distance_mm <= most_mm, 1 / (1 + self.distance_mm)
        else:
            allowed = self.iou > 0 if hit == "overlap" else self.inside
            closeness = self.iou
        # The number of pairs comes first: closeness of all together is below one pair.
        return _best(np.where(allowed, 1 + closeness / (min(self.iou.shape, default=0) + 1), 0))


def _best(worth: np.ndarray) -> Match:
    rows, columns = linear_sum_assignment(-worth)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {(r + 1, c + 1) for r, c in pairs if worth[r, c] > 0}


def _centres(nodes: Instances) -> np.ndarray:
    """Return the mean index of the voxels of each node, `[count, 3]`."""
    if not nodes.count:
        return np.zeros((0, 3))
    inside, number = nodes.voxels
    axes = np.unravel_index(inside, nodes.labels.shape)
    sums = [np.bincount(number, axis, minlength=nodes.count + 1)[1:] for axis in axes]
    return np.stack(sums, 1) / nodes.sizes[:, None]
