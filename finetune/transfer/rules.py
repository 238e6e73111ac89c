"""Heads of a segmenter that begins as a rule correct it: they go with the rule, or stay new."""

from __future__ import annotations

from collections.abc import Mapping

from hilum.segmenter.segmenter import Segmenter

from .sources import Start


def other_start(segmenter: Segmenter, start: Start) -> str:
    """Return why heads that fit by meaning do not: one of both begins as a rule; empty if not."""
    if segmenter.rule is not None and not start.ruled:
        return (
            "at zero, so that the run begins as prior_rule; transfer.parts=whole adds the rule to "
            "what the folder's heads say"
        )
    if start.ruled and segmenter.rule is None:
        return "the folder's heads correct a rule that this segmenter does not have"
    return ""


def same_rule(
    segmenter: Segmenter, theirs: Segmenter, pairs: Mapping[int, int], notes: list[str]
) -> None:
    """Go on from the limits that a folder has learned, and note it.

    Args:
        segmenter: To be filled.
        theirs: Of the folder.
        pairs: Their channel for each of ours.
        notes: Get a line each.
    """
    if segmenter.rule is None or theirs.rule is None:
        return
    segmenter.rule.take(theirs.rule, pairs)
    found = [f"prior_rule goes on from the folder's: {segmenter.rule.words()}"]
    ours, old = segmenter.config.prior_rule, theirs.config.prior_rule
    if ours is not None and old is not None and ours.soft_tissue != old.soft_tissue:
        found.append(f"prior_rule.soft_tissue was {old.soft_tissue}, now {ours.soft_tissue}")
    notes += [note for note in found if note not in notes]
