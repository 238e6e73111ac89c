"""Settings of an evaluation: what counts as near, as found, and as empty."""

from __future__ import annotations

from pydantic import Field

from hilum.core.settings import Settings

from .metrics.empty import BothEmpty
from .metrics.surface import TOLERANCE_MM


class EvaluationSettings(Settings):
    """How masks are compared with references."""

    tolerance_mm: float = Field(
        TOLERANCE_MM, gt=0, le=100, description="tolerance of the surface Dice, mm"
    )
    both_empty: BothEmpty = Field(
        "1", description="overlap of two empty masks: 1, or nan for undefined"
    )
