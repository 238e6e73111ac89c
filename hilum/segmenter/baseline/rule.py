"""The baseline: uptake above a limit, in components of a minimum volume, as mask and scores."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from scipy import ndimage

from hilum.core.connected_components import components
from hilum.core.settings import Settings, validate
from hilum.datasets.store.case_store import PreparedCase, StoredCase

from ..operating.apply import clean
from ..operating.point import OperatingPoint
from .limits import channel, soft

SLOPE = 4.5
"""Logit per log(1 + SUV) of the scores; whatever is above 0 ranks voxels alike."""


class BaselineSettings(Settings):
    """A segmentation by uptake, without any learning but, if asked, the choice of two numbers.

    Source:
        41 % of the maximum: Boellaard et al., "FDG PET/CT: EANM procedure guidelines for tumour
        imaging: version 2.0", 2015; SUV 2.5 and 4: Barrington et al., J Nucl Med 2021, on
        lymphoma. The maximum is that of each component above the limit, as there is no reader who
        marks a lesion.
    """

    limit: float | Literal["auto"] = Field(
        "auto",
        description="SUV above which a voxel is foreground; auto: that of the highest Dice on the "
        "training and validation patients, together with min_volume_ml if that is auto, too",
    )
    relative: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the SUVmax of a component above the limit that its voxels must "
        "reach, such as 0.41; 0: none",
    )
    min_volume_ml: float | Literal["auto"] = Field(
        0.0, description="minimum volume of a component, ml; auto: chosen like the limit"
    )
    max_volume_ml: float | None = Field(
        None, gt=0, description="maximum volume of a component, ml; empty: none"
    )
    suv_max: float = Field(
        0.0,
        ge=0,
        description="SUVmax that a component above the limit must have, however large it is",
    )
    at_most: int | None = Field(
        None, ge=1, description="most components, the largest; 1: the largest alone; empty: all"
    )
    soft_tissue: tuple[float, float] | None = Field(
        None,
        description="HU between which uptake counts, as in [-100, 150], where there is a CT; "
        "empty: everywhere",
    )
    value: int = Field(1, ge=1, description="class that is predicted")

    @model_validator(mode="after")
    def _numbers(self) -> BaselineSettings:
        if not isinstance(self.limit, str) and not self.limit > 0:
            raise ValueError(f"limit must be an SUV above 0, or auto: {self.limit:g}")
        if not isinstance(self.min_volume_ml, str) and self.min_volume_ml < 0:
            raise ValueError(f"min_volume_ml must not be negative: {self.min_volume_ml:g}")
        smallest = 0.0 if isinstance(self.min_volume_ml, str) else self.min_volume_ml
        if self.max_volume_ml is not None and not smallest < self.max_volume_ml:
            raise ValueError(
                "max_volume_ml must be above min_volume_ml: "
                f"{self.max_volume_ml:g} and {smallest:g}"
            )
        if self.soft_tissue is not None and not self.soft_tissue[0] < self.soft_tissue[1]:
            raise ValueError(f"soft_tissue must rise: {list(self.soft_tissue)}")
        return self

    @property
    def filters(self) -> bool:
        """Whether the rule itself says which components are kept."""
        asked = (self.max_volume_ml, self.suv_max, self.at_most, self.min_volume_ml)
        return any(asked)

    @property
    def chooses(self) -> bool:
        """Whether labelled patients have a say."""
        return "auto" in (self.limit, self.min_volume_ml)

    def words(self) -> str:
        """Return the rule in words."""
        parts = [f"SUV above {_number(self.limit)}"]
        if self.relative:
            parts.append(f"{self.relative:.0%} of the maximum of a component")
        if self.soft_tissue:
            parts.append(f"CT from {self.soft_tissue[0]:g} to {self.soft_tissue[1]:g} HU")
        if self.min_volume_ml:
            parts.append(f"at least {_number(self.min_volume_ml)} ml")
        if self.max_volume_ml:
            parts.append(f"at most {self.max_volume_ml:g} ml")
        if self.suv_max:
            parts.append(f"components of SUVmax {self.suv_max:g} or more")
        if self.at_most:
            parts.append(f"at most {self.at_most} components")
        return ", ".join(parts)


def baseline_mask(
    case: StoredCase | PreparedCase, rule: BaselineSettings, use_ct: bool = True
) -> np.ndarray:
    """Return the mask of a case, uint8 `[D, H, W]`; nothing is found without a PET.

    Args:
        case: On the grid of its store.
        rule: Its numbers chosen.
        use_ct: Whether the CT may be looked at.
    """
    suv = channel(case, "SUV")
    if suv is None:
        return np.zeros(case.images.shape[1:], np.uint8)
    if isinstance(rule.limit, str) or isinstance(rule.min_volume_ml, str):
        raise ValueError("a rule is applied when its numbers are chosen")
    inside = hot(suv, soft(case, rule.soft_tissue) if use_ct else None, rule.limit, rule)
    mask = inside.astype(np.uint8) * np.uint8(rule.value)
    point = rule.model_dump(include={"min_volume_ml", "max_volume_ml", "at_most"})
    clean(mask, case.grid, validate(OperatingPoint, point))
    return mask


def hot(
    suv: np.ndarray, tissue: np.ndarray | None, limit: float, rule: BaselineSettings
) -> np.ndarray:
    """Return where uptake exceeds a limit, in components whose maximum is what a rule asks of it.

    Args:
        suv: `[D, H, W]`.
        tissue: Where uptake counts; everywhere if not given.
        limit: SUV, in place of the rule's own.
        rule: Its SUVmax, and the fraction of its component's that a voxel must reach.
    """
    inside = suv > limit if tissue is None else (suv > limit) & tissue
    if not (rule.relative or rule.suv_max > limit) or not inside.any():
        return inside
    labels, count = components(inside)
    tops = np.zeros(count + 1)
    tops[1:] = ndimage.maximum(suv, labels, range(1, count + 1))
    kept = (suv >= rule.relative * tops[labels]) & (tops >= rule.suv_max)[labels]
    return inside & kept


def baseline_scores(
    case: StoredCase | PreparedCase,
    rule: BaselineSettings,
    classes: int,
    use_ct: bool = True,
) -> np.ndarray:
    """Return probabilities `[classes, D, H, W]` that rank voxels by their uptake.

    They are the logistic function of log(1 + SUV), one half at the limit, and almost 0 outside of
    the soft tissue: what `prior_rule` begins as.
    """
    suv = channel(case, "SUV")
    found = np.zeros((classes, *case.images.shape[1:]), np.float32)
    if suv is not None and not isinstance(rule.limit, str):
        tissue = soft(case, rule.soft_tissue) if use_ct else None
        seen = suv if tissue is None else np.where(tissue, suv, 0)
        logit = SLOPE * (np.log1p(np.maximum(seen, 0)) - np.log1p(np.float32(rule.limit)))
        found[rule.value] = 1 / (1 + np.exp(-logit))
    found[0] = 1 - found[1:].sum(0)
    return found


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
