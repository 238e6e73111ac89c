"""What a plan says of transfer: the rate by the labels there are, and blocks by the nodes' size."""

from __future__ import annotations

from math import isnan

from .fingerprint import Fingerprint
from .transfer.rates import FEW_PATIENTS, default_rate

RATIO = 0.65


def advice(found: Fingerprint, patients: int) -> list[tuple[str, str]]:
    """Return what to set for pretraining and transfer, and why; a plan shows it, and sets nothing.

    Args:
        found: What the cohort is like.
        patients: With a label; fewer may train.
    """
    few = default_rate(min(patients, FEW_PATIENTS) or 1, True)
    many = default_rate(FEW_PATIENTS + 1, True)
    lines = [
        (
            "transfer.rate",
            f"empty means {few.factor:g} with at most {FEW_PATIENTS} labelled patients and a whole "
            f"pretrained network, since {few.why}; else {many.factor:g}",
        )
    ]
    if not isnan(found.smallest):
        side = max(round(found.smallest / 2 / max(found.spacing)), 2)
        lines.append(
            (
                "pretrain task.block",
                f"try {side} voxels, task.ratio {RATIO:g}: half of the small nodes "
                f"({found.smallest:.1f} mm), so that a part of a node stays visible; a rule of "
                "thumb, not measured",
            )
        )
    return lines
