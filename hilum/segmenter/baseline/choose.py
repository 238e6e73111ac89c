"""Let labelled patients choose the limit and the smallest volume of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore, StoredCase

from .limits import LIMITS, channel, soft
from .rule import BaselineSettings, hot

VOLUMES_ML = (0.0, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0)
"""Least volumes to try."""
EVERY = 2
"""Of the limits, as components are looked at for each."""


class Chosen(NamedTuple):
    """A rule with numbers, and what they have on those who chose them."""

    rule: BaselineSettings
    dice: float
    patients: int


def choose_rule(store: CaseStore, cases: Sequence[str], rule: BaselineSettings) -> Chosen:
    """Return the rule of the highest mean Dice over patients; of equals, the one in the middle.

    Args:
        store: Holds the cases.
        cases: Labelled cases that may choose.
        rule: What is `auto` in it is chosen, all else is kept.

    Raises:
        DataError: If no case has a label and a PET.
    """
    limits = LIMITS[::EVERY] if isinstance(rule.limit, str) else np.array([rule.limit])
    auto = isinstance(rule.min_volume_ml, str)
    volumes = VOLUMES_ML if auto else (float(rule.min_volume_ml),)
    tables: dict[str, list[np.ndarray]] = {}
    for name in cases:
        table = dice_table(store[name], rule, limits, volumes)
        if table is not None:
            tables.setdefault(store.rows[name]["patient"], []).append(table)
    if not tables:
        raise DataError(
            "a baseline is chosen on labelled cases with a PET",
            file=store.path,
            found=f"none among {len(cases)} cases",
            remedy="set baseline.limit and baseline.min_volume_ml to numbers, such as 2.5 and 0",
        )
    mean = np.mean([np.mean(own, 0) for own in tables.values()], 0)
    best = np.argwhere(mean >= mean.max() - 1e-12)
    row, column = best[len(best) // 2]
    numbers = {"limit": float(limits[row]), "min_volume_ml": float(volumes[column])}
    return Chosen(rule.model_copy(update=numbers), float(mean[row, column]), len(tables))


def dice_table(
    case: StoredCase,
    rule: BaselineSettings,
    limits: Sequence[float] | np.ndarray,
    volumes: Sequence[float],
) -> np.ndarray | None:
    """Return the Dice of a case `[limits, volumes]`; two empty masks count 1.

    `None` if the case has no PET, or no label for the class.
    """
    suv = channel(case, "SUV")
    if suv is None or case.label is None or rule.value not in (case.annotated or (rule.value,)):
        return None
    label = np.asarray(case.label)
    truth, known, tissue = label == rule.value, label != IGNORE, soft(case, rule.soft_tissue)
    total = int(np.count_nonzero(truth))
    table = np.empty((len(limits), len(volumes)))
    for row, limit in enumerate(limits):
        labels, count = components(hot(suv, tissue, float(limit), rule))
        there = np.flatnonzero(labels)
        numbers = labels.ravel()[there]
        sizes = np.bincount(numbers, minlength=count + 1)[1:]
        counted = np.bincount(numbers[known.ravel()[there]], minlength=count + 1)[1:]
        hits = np.bincount(numbers[truth.ravel()[there]], minlength=count + 1)[1:]
        order = np.argsort(-sizes, kind="stable")
        if rule.max_volume_ml is not None:
            order = order[sizes[order] * case.grid.voxel_ml <= rule.max_volume_ml * (1 + 1e-9)]
        order = order[: rule.at_most]
        for column, volume in enumerate(volumes):
            keep = order[sizes[order] * case.grid.voxel_ml >= volume * (1 - 1e-9)]
            ours, both = int(counted[keep].sum()), int(hits[keep].sum())
            table[row, column] = 2 * both / (ours + total) if ours + total else 1.0
    return table
