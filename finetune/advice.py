"""What a plan says of few labels: pretext task, rate, blocks by the nodes' size, a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

from hilum.core.errors import DataError
from hilum.core.geometry import Triple
from hilum.core.modality import modality
from hilum.datasets.store.case_store import CaseStore
from hilum.pretrain.parts.node_recipe import USUAL
from hilum.segmenter.baseline.limits import best_limit

from .fingerprint import Fingerprint
from .prior_limit import PROMISING
from .transfer.rates import FEW_PATIENTS, default_rate

RATIO = 0.65
LEAST_POOL = 8
"""Patients below which no pretext task is proposed; the smallest pool that was tried had 16."""
LARGE_POOL = 500
"""Paired patients from which on masked reconstruction joins."""
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


def pretext_advice(
    cases: Mapping[str, Mapping[str, Any]], spacing: Triple
) -> list[tuple[str, str]]:
    """Return which pretext task to pretrain with, by what the pool has; no voxel is read.

    The pool is every case that the manifest does not keep for testing.

    Args:
        cases: Rows of a store.
        spacing: mm per voxel of the store.
    """
    rows = [row for row in cases.values() if row.get("split") != "test"]
    patients = len({row["patient"] for row in rows})
    paired = len({row["patient"] for row in rows if _is_paired(row["modalities"])})
    key, pool = "pretrain task.name", f"{paired} of {patients} patients of the pool have both"
    if patients < LEAST_POOL:
        why = f"none: a pool of {patients} patients is small, spend the steps on training instead"
        return [(key, f"{why} (from {LEAST_POOL} on a pretext task is proposed)")]
    widest = 2 * max(spacing)
    if widest > USUAL.short_mm[1]:
        why = f"nodes up to {USUAL.short_mm[1]:g} mm must be two voxels wide, {widest:g} mm"
        return [(key, f"masked_autoencoder: no node fits for synthetic_nodes, {why}")]
    if 2 * paired < patients:
        why = f"{pool} structure (CT, MR) and uptake (PET), and decoys need both"
        return [(key, f"masked_autoencoder: {why}")]
    found = (
        f"{pool} structure and uptake. On phantoms its whole network at the gentle rate had an "
        "average precision .19 and .13 above 1,500 augmented steps from scratch with 1 and 2 "
        "labelled patients (two and three cohorts); with 5, and on sarcomas, no gain is shown, "
        "so compare (`hilum study plan own_patients`)"
    )
    if paired < LARGE_POOL:
        return [(key, f"synthetic_nodes, with transfer.parts=whole: {found}")]
    why = f"; with {LARGE_POOL} and more, where masked reconstruction gains in print, add it"
    return [(key, f"joint of synthetic_nodes and masked_autoencoder: {found}{why}")]


def _is_paired(modalities: Iterable[str]) -> bool:
    """Return whether a case shows both structure and uptake."""
    return {modality(name).scale for name in modalities} >= {"linear", "log"}


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
        "had .56, networks that began as it had .10, .12 and .15 more than scratch with 1, 2 and 4 "
        "of them, and were not shown to be above the rule. It goes with a pretrained network, "
        "whose heads then start at zero"
    )
    return [("prior_rule", why)]
