"""Settings of `hilum annotate take`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings

from .known import Rest


class TakeSettings(Settings):
    """How corrected masks become labels."""

    rest: Rest = Field(
        "auto",
        description="what lies outside of all proposals and segments: background, unknown, or "
        "auto: unknown if some segments are unfinished, else background",
    )
    raters: Literal["apart", "together"] = Field(
        "apart",
        description="labels of several raters of one case: apart, one of them counts; or together, "
        "each stands in its column label_<rater> of the manifest, and prepare makes them one",
    )
    round: int = Field(1, ge=1, description="number of the round of labelling that they belong to")
    workers: int = Field(1, ge=1, description="processes that prepare the cases again")
