"""Dice of validation cases from counts of voxels, whether a case comes whole or in patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.core.types import IGNORE
from hilum.segmenter.operating.regions import Regions, in_view, looked_for_in

from .validation_dice import dice_of


class VoxelCounts:
    """By case and class: voxels that both have, each has, and that are unknown. Final.

    Args:
        classes: Background included.
        regions: What the classes are, if they may overlap.

    Attributes:
        cases: Counts `[classes - 1, 4]` by the name of the case.
    """

    def __init__(self, classes: int, regions: Regions | None = None) -> None:
        self.classes, self.regions = classes, regions
        self.cases: dict[str, np.ndarray] = {}

    def add(
        self, name: str, prediction: np.ndarray, label: np.ndarray, annotated: Sequence[int] = ()
    ) -> None:
        """Count a mask of a case, or of a part of it.

        Args:
            name: Of the case.
            prediction: Whole numbers `[D, H, W]`.
            label: The same; 255 is unknown.
            annotated: Values of the label that were looked for; empty: all.
        """
        rows, seen = [], looked_for_in(annotated, self.regions)
        for value in range(1, self.classes):
            # Nothing is known of a class that nobody looked for; counts of nothing have no Dice.
            known = (label != IGNORE) & (not seen or value in seen)
            views = (in_view(mask, self.regions, value) for mask in (prediction, label))
            ours, truth = ((mask == number) & known for mask, number in views)
            rows.append([np.count_nonzero(x) for x in (ours & truth, ours, truth, ~known)])
        counts = np.array(rows, float)
        self.cases[name] = self.cases.get(name, np.zeros_like(counts)) + counts

    def drain(self) -> tuple[list[str], np.ndarray]:
        """Return names of cases and the Dice of each class `[cases, classes - 1]`; forget both."""
        scores = np.array([dice_of(counts) for counts in self.cases.values()])
        names = list(self.cases)
        self.cases.clear()
        return names, scores
