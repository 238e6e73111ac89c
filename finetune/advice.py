"""What a plan says of few labels: the rate, blocks by the nodes' size, a rule to begin as."""

from __future__ import annotations

from math import isnan

from hilum.core.errors import DataError
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.baseline.limits import best_limit

from .fingerprint import Fingerprint
from .prior_limit import PROMISING
from .transfer.rates import FEW_PATIENTS, default_rate

RATIO = 0.65
ENOUGH = 20
"""Labelled cases that a plan looks at."""


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


def rule_advice(store: CaseStore) -> list[tuple[str, str]]:
    """Return whether to begin as an SUV threshold; nothing without a label or a PET.

    Up to 20 labelled cases are read, none that the manifest keeps for testing.
    """
    rows = store.rows.items()
    names = [name for name, row in rows if row["labelled"] and row.get("split") != "test"]
    try:
        limit, dice, patients = best_limit(store, names[:ENOUGH])
    except DataError:
        return []
    found = f"SUV above {limit:g} alone has Dice {dice:.2f} on {patients} labelled patients"
    if dice < PROMISING:
        why = f"not worth its while: {found}; on phantoms where it had .25 it gained nothing"
        return [("prior_rule", why)]
    why = (
        f"set prior_rule.limit=auto with few labelled patients: {found}; on real patients where it "
        "had .59, networks that began as it gained .11, .11 and .09 with 1, 2 and 4 of them. It "
        "goes with a pretrained network, whose heads then start at zero"
    )
    return [("prior_rule", why)]
