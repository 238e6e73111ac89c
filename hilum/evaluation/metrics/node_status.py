"""Node status and burden of a case: how many nodes, how large, and whether any is positive."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..settings import EvaluationSettings
from .node_record import NodeRecord


def burden_metrics(
    predicted: Sequence[NodeRecord],
    reference: Sequence[NodeRecord],
    settings: EvaluationSettings,
    *,
    unknown: bool,
) -> dict[str, float]:
    """Return number of nodes, largest short axis and node status of both masks of a case.

    `nodes` and `node_positive` (1 or 0) are numbers of the prediction, those with `reference_`
    before the name of the reference. Without a node there is no largest short axis (NaN). Where
    the reference has unknown voxels and no positive node among the known ones, nobody can say
    that it is negative: its status is NaN. Where neither mask has a known node, the counts are,
    too.

    Args:
        predicted: Nodes of one class.
        reference: The same.
        settings: Which node makes a patient positive.
        unknown: Whether the reference has unknown voxels.
    """
    found: dict[str, float] = {}
    for nodes, prefix in ((predicted, ""), (reference, "reference_")):
        short = [node.short_axis_mm for node in nodes]
        found[f"{prefix}nodes"] = float(len(nodes))
        found[f"{prefix}max_short_axis_mm"] = max(short, default=math.nan)
        found[f"{prefix}node_positive"] = float(any(is_positive(node, settings) for node in nodes))
    if unknown and not found["reference_node_positive"]:
        found["reference_node_positive"] = math.nan
    if unknown and not predicted and not reference:
        found["nodes"] = found["reference_nodes"] = math.nan
    return found


def is_positive(node: NodeRecord, settings: EvaluationSettings) -> bool:
    """Return whether a node makes its patient node-positive.

    Without a limit every node does; with limits one that reaches either of them.
    """
    if settings.positive_mm is None and settings.positive_suv is None:
        return True
    large = settings.positive_mm is not None and node.short_axis_mm >= settings.positive_mm
    hot = settings.positive_suv is not None and (node.suv_max or 0.0) >= settings.positive_suv
    return large or hot


def criterion(settings: EvaluationSettings) -> str:
    """Return in words when a patient is node-positive."""
    limits = []
    if settings.positive_mm is not None:
        limits.append(f"a short axis of {settings.positive_mm:g} mm or more")
    if settings.positive_suv is not None:
        limits.append(f"an SUVmax of {settings.positive_suv:g} or more")
    return "at least one node" + (f" with {' or '.join(limits)}" if limits else "")
