"""What a labeller changed: nodes added, removed, redrawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hilum.core.case import IGNORE
from hilum.evaluation.metrics.instances import Instances


@dataclass(frozen=True)
class Changes:
    """From one mask to the next.

    Attributes:
        added: Nodes that share no voxel with one of before.
        removed: Nodes of before that share no voxel with one of now.
        redrawn: Nodes of now that lie on one of before, not voxel for voxel.
        kept: Nodes that are as before, voxel for voxel.
        dice: Of both masks, any class; 1 if both are empty.
        before_ml: Volume before.
        after_ml: Volume now.
    """

    added: int
    removed: int
    redrawn: int
    kept: int
    dice: float
    before_ml: float
    after_ml: float

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    def words(self) -> str:
        """Return it in a line."""
        return (
            f"{self.added} added, {self.removed} removed, {self.redrawn} redrawn, {self.kept} kept"
            f"; Dice {self.dice:.3f}, {self.before_ml:.3g} to {self.after_ml:.3g} ml"
        )


def changes(before: np.ndarray, after: np.ndarray, voxel_ml: float) -> Changes:
    """Compare two masks of one grid; unknown voxels (255) mark nothing.

    A node is a component (26 neighbours) within a class; one that changed its class is redrawn.
    """
    old, new = Instances.of(before), Instances.of(after)
    was, now = old.labels > 0, new.labels > 0
    both = was & now
    met_old = set(np.unique(old.labels[both]).tolist())
    met_new = set(np.unique(new.labels[both]).tolist())
    kept = sum(_same(number, old, new, before, after) for number in met_new)
    total = int(was.sum()) + int(now.sum())
    dice = 2 * int(np.count_nonzero(both)) / total if total else 1.0
    return Changes(
        added=new.count - len(met_new),
        removed=old.count - len(met_old),
        redrawn=len(met_new) - kept,
        kept=kept,
        dice=dice,
        before_ml=int(was.sum()) * voxel_ml,
        after_ml=int(now.sum()) * voxel_ml,
    )


def _same(
    number: int, old: Instances, new: Instances, before: np.ndarray, after: np.ndarray
) -> bool:
    """Tell whether a node is voxel for voxel one of before, in the same class."""
    box = new.boxes[number - 1]
    own = new.labels[box] == number
    partners = np.unique(old.labels[box][own])
    if len(partners) != 1 or partners[0] == 0:
        return False
    size = np.count_nonzero(old.labels[old.boxes[int(partners[0]) - 1]] == partners[0])
    return bool((before[box][own] == after[box][own]).all() and size == np.count_nonzero(own))


def unknown_ml(mask: np.ndarray, voxel_ml: float) -> float:
    """Return the volume of a mask that is unknown."""
    return int(np.count_nonzero(mask == IGNORE)) * voxel_ml
