"""Settings of an evaluation: what counts as near, as found, and as empty."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hilum.core.settings import Settings
from hilum.core.types import IGNORE

from .metrics.empty import BothEmpty
from .metrics.matching import HIT_IOU, Hit
from .metrics.surface import TOLERANCE_MM

ClassValue = Annotated[int, Field(ge=1, lt=IGNORE)]


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
    regions: dict[str, list[ClassValue]] = Field(
        {},
        description="named unions of class numbers, measured in addition to the classes, as in "
        "{GTV: [1, 2]}",
    )
    raters: Literal["staple", "majority", "mean"] = Field(
        "staple",
        description="how the labels of several raters (columns label_<rater>) become the reference "
        "of a case without a label of its own; mean is the majority here",
    )
    instances: Literal["none", "both", "reference", "prediction"] = Field(
        "none",
        description="masks whose values are instance numbers of one class instead of classes",
    )
    stations: str = Field(
        "",
        description="station label maps for metrics per station: anatomy (column of the "
        "manifest) or a folder with <case>.nii.gz",
    )
    positive_mm: float | None = Field(
        None,
        gt=0,
        le=100,
        description="short axis threshold for a node-positive patient, mm, as 10; without "
        "positive_mm and positive_suv every node counts",
    )
    positive_suv: float | None = Field(
        None,
        gt=0,
        le=100,
        description="SUVmax threshold for a node-positive patient, of nodes of any size",
    )

    @model_validator(mode="after")
    def _regions_of_classes(self) -> EvaluationSettings:
        for name, values in self.regions.items():
            if not name.strip() or name.strip().lstrip("+-").isdigit():
                raise ValueError(f"a region must have a name that is no number, found {name!r}")
            if not values:
                raise ValueError(f"region {name} must have a class")
        if self.regions and self.instances != "none":
            raise ValueError("regions need classes, and instances=none")
        return self
