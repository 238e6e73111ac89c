"""Where the rule that a run begins as gets its limit: from the patients that it learns from."""

from __future__ import annotations

from hilum.core.counts import many
from hilum.core.errors import DataError
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.baseline.limits import best_limit
from hilum.segmenter.config import SegmenterConfig

PROMISING = 0.4
"""Dice of the best limit from which on a rule is worth to begin as."""


def with_limit(
    config: SegmenterConfig, store: CaseStore, split: Split
) -> tuple[SegmenterConfig, list[str]]:
    """Return a configuration whose rule has a number as its limit, and what to tell of it.

    Raises:
        DataError: If no training patient can choose.
    """
    rule = config.prior_rule
    if rule is None or rule.limit != "auto":
        return config, []
    try:
        limit, dice, patients = best_limit(
            store, split.train, _values(config, rule.classes), rule.soft_tissue
        )
    except DataError as error:
        raise DataError(
            "prior_rule.limit=auto is chosen on the training patients: one must have label and PET",
            file=store.path,
            found=error.found,
            remedy="set prior_rule.limit to an SUV, such as 2",
        ) from None
    chosen = rule.model_copy(update={"limit": limit})
    told = (
        f"prior_rule begins as SUV above {limit:g}: alone it has Dice {dice:.2f} on the "
        f"{many(patients, 'training patient')} that chose it"
    )
    if dice < PROMISING:
        told += "; that is little: compare with a run without prior_rule"
    return config.model_copy(update={"prior_rule": chosen}), [told]


def _values(config: SegmenterConfig, names: tuple[str, ...]) -> list[int]:
    """Return the values of the classes or regions that have the rule; none for all classes."""
    own = config.class_names
    if config.regions:  # one limit for their union
        asked = names or own
        return sorted({value for name in asked for value in config.regions.get(name, ())})
    return [own.index(name) + 1 for name in names if name in own]
