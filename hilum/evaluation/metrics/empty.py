"""What a metric is where a mask is empty: one table, applied in one place."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

BothEmpty = Literal["1", "nan"]
"""What an overlap of two empty masks is: perfect (nnU-Net before 2, most challenges) or undefined
(nnU-Net 2, Metrics Reloaded)."""

State = Literal["both there", "both empty", "reference empty", "prediction empty", "nothing known"]
Value = float | Literal["diagonal", "choice", "measured"]

NAN = math.nan
_WORDS = {"choice": "1 or undefined, as chosen", "measured": "as defined"}


@dataclass(frozen=True)
class EmptyRule:
    """What a metric is in each case. Where nothing is known it is undefined.

    `diagonal` is that of the image in mm, the penalty of a distance; `measured` is what the
    definition gives; `choice` is 1 or undefined, as the user says.

    Attributes:
        both: If both masks are empty.
        reference: If only the reference is.
        prediction: If only the prediction is.
    """

    both: Value
    reference: Value
    prediction: Value

    def __str__(self) -> str:
        values = (self.both, self.reference, self.prediction)
        names = ("both empty", "reference empty", "prediction empty")
        return "; ".join(f"{n}: {_word(v)}" for n, v in zip(names, values, strict=True))


OVERLAP = EmptyRule("choice", 0.0, 0.0)
DISTANCE = EmptyRule(NAN, "diagonal", "diagonal")
LESION_OVERLAP = EmptyRule(NAN, 0.0, 0.0)
ERROR = MEASURED = EmptyRule("measured", "measured", "measured")
HOTTEST = EmptyRule(NAN, NAN, NAN)

EMPTY_RULES: dict[str, EmptyRule] = {
    "dice": OVERLAP,
    "dice_argmax": OVERLAP,
    "voxel_average_precision": EmptyRule(NAN, NAN, "measured"),
    "iou": OVERLAP,
    "nsd": OVERLAP,
    "hd95_mm": DISTANCE,
    "masd_mm": DISTANCE,
    "assd_mm": DISTANCE,
    "lesion_dice": LESION_OVERLAP,
    "lesion_nsd": LESION_OVERLAP,
    "lesion_hd95_mm": DISTANCE,
    "lesion_masd_mm": DISTANCE,
    "lesion_precision": EmptyRule(NAN, 0.0, NAN),
    "lesion_sensitivity": EmptyRule(NAN, NAN, 0.0),
    "lesion_f1_auc": LESION_OVERLAP,
    "panoptic_quality": LESION_OVERLAP,
    "recognition_quality": LESION_OVERLAP,
    "segmentation_quality": EmptyRule(NAN, NAN, NAN),
    "false_positives": EmptyRule(0.0, "measured", 0.0),
    "fpv_ml": EmptyRule(0.0, "measured", 0.0),
    "fnv_ml": EmptyRule(NAN, NAN, "measured"),
    "volume_error_ml": ERROR,
    "tlg_error": ERROR,
    "suv_max_error": HOTTEST,
    "suv_peak_error": HOTTEST,
}
"""By metric; NSD stands for every tolerance."""


def state_of(prediction: bool, reference: bool, unknown: bool) -> State:
    """Return which rule holds.

    A reference without a known voxel of the class is empty only if all of it is known: with unknown
    voxels nobody can say that nothing was to be found. So two masks that are empty where the
    reference is known, and a reference that is unknown throughout, say nothing.

    Args:
        prediction: Whether it has a voxel where the reference is known.
        reference: Whether it has a known voxel.
        unknown: Whether the reference has unknown voxels.
    """
    if prediction and reference:
        return "both there"
    if prediction:
        return "reference empty"
    if reference:
        return "prediction empty"
    return "nothing known" if unknown else "both empty"


def settled(
    numbers: Mapping[str, float],
    state: State,
    diagonal_mm: float,
    both_empty: BothEmpty,
    more: Mapping[str, EmptyRule] | None = None,
) -> dict[str, float]:
    """Return the metrics of a case with the rules applied.

    Args:
        numbers: What was measured.
        state: Of the case.
        diagonal_mm: Of the image.
        both_empty: What an overlap of two empty masks is.
        more: Rules of metrics that are not ours.
    """
    found = dict(numbers)
    for name in numbers:
        value = value_of(rule_of(name) or (more or {}).get(name), state)
        if value == "diagonal":
            found[name] = diagonal_mm
        elif value == "choice":
            found[name] = float(both_empty)
        elif isinstance(value, float):
            found[name] = value
    return found


def rule_of(metric: str) -> EmptyRule | None:
    """Return the rule of a metric of a case; none for sums and for what others define."""
    stem = metric.rsplit("_", 1)[0] if "nsd_" in metric else metric
    return EMPTY_RULES.get(stem)


def undefined(
    cases: Mapping[str, Mapping[str, float]], more: Collection[str] = ()
) -> dict[str, int]:
    """Return in how many cases each metric that has a rule is undefined, where it is in any.

    Args:
        cases: Metrics of each case.
        more: Metrics that are not ours and count, too.
    """
    counts: dict[str, int] = {}
    for numbers in cases.values():
        for name, value in numbers.items():
            if (rule_of(name) is not None or name in more) and np.isnan(value):
                counts[name] = counts.get(name, 0) + 1
    return counts


def value_of(rule: EmptyRule | None, state: State) -> Value:
    """Return what a metric with a rule is in a state."""
    if rule is None or state == "both there":
        return "measured"
    if state == "nothing known":
        return NAN
    if state == "both empty":
        return rule.both
    return rule.reference if state == "reference empty" else rule.prediction


def _word(value: Value) -> str:
    if isinstance(value, str):
        return _WORDS.get(value, "diagonal of the image")
    return "undefined" if math.isnan(value) else f"{value:g}"
