"""Settings of an evaluation: what counts as near, as found, and as empty."""

from __future__ import annotations

from pydantic import Field

from hilum.core.settings import Settings

from .metrics.empty import BothEmpty
from .metrics.matching import HIT_IOU, Hit
from .metrics.surface import TOLERANCE_MM


class EvaluationSettings(Settings):
    """How masks are compared with references."""

    tolerance_mm: float = Field(
        TOLERANCE_MM, gt=0, le=100, description="tolerance of the surface Dice, mm"
    )
    both_empty: BothEmpty = Field(
        "1", description="overlap of two empty masks: 1, or nan for undefined"
    )
    hit: Hit = Field(
        "iou",
        description="when a predicted node finds one: iou above hit_iou, any overlap, its centre "
        "in the node, or a distance of centres up to hit_mm",
    )
    hit_iou: float = Field(
        HIT_IOU, ge=0, lt=1, description="IoU above which a node is detected with hit=iou, ratio"
    )
    hit_mm: float = Field(
        5.0, gt=0, le=100, description="distance of centres up to which it is, hit=distance, mm"
    )
