"""What compares segmenters whatever their operating points: at the default, and threshold-free."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hilum.core.types import IGNORE
from hilum.evaluation.metrics.empty import settled, state_of
from hilum.evaluation.metrics.voxel_average_precision import voxel_average_precision

from ..operating.apply import decide
from ..operating.point import ARGMAX
from ..operating.regions import Regions, in_view
from .unannotated import looked_for

Numbers = dict[str, float]


def whatever_the_point(
    probability: np.ndarray,
    reference: np.ndarray,
    numbers: Numbers,
    argmax: bool,
    annotated: Sequence[int] = (),
    regions: Regions | None = None,
) -> Numbers:
    """Return what compares segmenters apart from their points: at argmax, and threshold-free."""
    found: Numbers = {}
    for c in range(1, len(probability)):
        end = "" if c == 1 else f"_class{c}"
        view, value = in_view(reference, regions, c)
        truth = np.where(view == IGNORE, IGNORE, view == value)
        known = looked_for(annotated, c)
        precision = voxel_average_precision(probability[c], truth) if known else math.nan
        found[f"voxel_average_precision{end}"] = precision
        found[f"dice_argmax{end}"] = numbers[f"dice{end}"]
    if not argmax:
        plain = decide(probability[1:], ARGMAX, probability[0], regions)
        for c in range(1, len(probability)):
            end = "" if c == 1 else f"_class{c}"
            (ours, value), (truth, _) = (in_view(x, regions, c) for x in (plain, reference))
            known = looked_for(annotated, c)
            found[f"dice_argmax{end}"] = _dice(ours, truth, value) if known else math.nan
    return found


def _dice(mask: np.ndarray, reference: np.ndarray, value: int) -> float:
    known = reference != IGNORE
    ours, truth = (mask == value) & known, (reference == value) & known
    one, other = int(np.count_nonzero(ours)), int(np.count_nonzero(truth))
    found = 2 * int(np.count_nonzero(ours & truth)) / max(one + other, 1)
    state = state_of(bool(one), bool(other), not bool(known.all()))
    return settled({"dice": found}, state, math.nan, "1")["dice"]
