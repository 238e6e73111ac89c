"""The table of pairs: which predicted node lies on which node, and which metric counted it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.core.geometry import Grid

from ..settings import EvaluationSettings
from .detection import STRICT_IOU
from .instances import Instances
from .matching import Nearby


@dataclass(frozen=True)
class Pair:
    """A row. A node without a partner has a row of its own. Final.

    Attributes:
        label: Class of both.
        prediction: Number of the predicted node, as in the table of nodes; `None`: missed.
        reference: Number of the node of the reference; `None`: false positive.
        iou: Of the two; NaN without a partner, as the next two.
        dice: Of the two.
        distance_mm: Between their centres.
        counted_by: Metrics that count the pair: `f1agg` (the hit criterion; sensitivity, precision,
            false positives), `panoptic_quality` (IoU above 0.5; f1agg_50), `lesion_dice` (a voxel
            in common).
    """

    label: int
    prediction: int | None
    reference: int | None
    iou: float = float("nan")
    dice: float = float("nan")
    distance_mm: float = float("nan")
    counted_by: tuple[str, ...] = ()


def pairs_of(
    ours: Instances, theirs: Instances, grid: Grid, settings: EvaluationSettings
) -> list[Pair]:
    """Return every pair of one class that a metric counts, then false positives and misses.

    Args:
        ours: Predicted nodes.
        theirs: Of the reference.
        grid: Where both lie.
        settings: Hit criterion.
    """
    found: list[Pair] = []
    for label in sorted({*ours.classes, *theirs.classes}):
        (one, mine), (other, own) = ours.of_class(label), theirs.of_class(label)
        near = Nearby.of(one, other, grid)
        counts = {
            "f1agg": near.match(settings.hit, settings.hit_iou, settings.hit_mm),
            "panoptic_quality": near.match("iou", STRICT_IOU, 0),
            "lesion_dice": {(int(p) + 1, int(r) + 1) for p, r in np.argwhere(near.iou > 0)},
        }
        rows = sorted(set().union(*counts.values()))
        for p, r in rows:
            at = p - 1, r - 1
            iou, dice, mm = (float(table[at]) for table in (near.iou, near.dice, near.distance_mm))
            by = tuple(name for name, matched in counts.items() if (p, r) in matched)
            found.append(Pair(label, mine[p - 1], own[r - 1], iou, dice, mm, by))
        hit = {p for p, _ in rows}, {r for _, r in rows}
        found += [Pair(label, n, None) for p, n in enumerate(mine, 1) if p not in hit[0]]
        found += [Pair(label, None, n) for r, n in enumerate(own, 1) if r not in hit[1]]
    return found
