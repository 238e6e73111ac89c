"""How a whole case is predicted: windows, mirror images, precision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.geometry import IntTriple
from hilum.core.settings import Settings, validate

Precision = Literal["auto", "32", "bf16"]
Uncertainty = Literal["entropy", "variance"]

Flips = Literal["none", "w", "all"]
"""Mirror images to predict, too: of no axis, of left-right, of all (8 passes)."""


class InferenceSettings(Settings):
    """How a whole case is predicted window by window."""

    overlap: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="minimum overlap of neighbouring windows, fraction of the window",
    )
    window: IntTriple | None = Field(
        None, description="sides of a window in voxels; empty: the patch"
    )
    batch_size: int = Field(1, ge=1, description="windows per forward pass")
    flips: Flips = Field(
        "none", description="also predict mirror images: left-right, or of all axes (8 passes)"
    )
    skip_outside: bool = Field(False, description="skip windows that contain no body voxels")

    def fast(self) -> InferenceSettings:
        """Return settings for a quick answer: less overlap, no mirror images, no empty windows."""
        return self.model_copy(
            update={
                "overlap": min(self.overlap, 0.25),
                "batch_size": max(self.batch_size, 2),
                "flips": "none",
                "skip_outside": True,
            }
        )

    def changed(self, **changes: object) -> InferenceSettings:
        """Return checked settings with those changes that are not `None`."""
        asked = {name: value for name, value in changes.items() if value is not None}
        return validate(InferenceSettings, self.model_dump() | asked)
