"""Settings of `hilum annotate plan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings, validate
from hilum.datasets.splits import SplitSettings


class LabellingSettings(Settings):
    """Whom to label next."""

    split: SplitSettings = Field(
        default_factory=lambda: validate(SplitSettings, {}),
        description="whom it tests: they are never chosen",
    )
    among: Literal["unlabelled", "labelled"] = Field(
        "unlabelled",
        description="patients to choose from; labelled: to try a strategy as if none had labels",
    )
    balance_sites: bool = Field(
        True, description="take patients from the sites by rotation as long as each has some left"
    )
    seed: int = Field(0, ge=0, description="seed of draws and of clusters")
