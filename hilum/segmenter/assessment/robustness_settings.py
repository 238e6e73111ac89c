"""Settings of the robustness matrix."""

from __future__ import annotations

from pydantic import Field

from hilum.core.settings import Settings, validate
from hilum.training.settings import TrackingSettings

from ..inference.settings import Precision


class RobustnessSettings(Settings):
    """Which rows the matrix has; each is of the first class, or region."""

    conditions: tuple[str, ...] | None = Field(
        None, description="modality subsets such as ct+pet; empty: all, then each alone"
    )
    moved: str | None = Field(
        None, description="modality that is changed; empty: the first in SUV, else the last"
    )
    shifts: tuple[float, ...] = Field(
        (0, 5, 10, 15), description="displacements, mm, in a direction drawn for each case"
    )
    scales: tuple[float, ...] = Field((0.7, 1, 1.3), description="factors on the values, ratio")
    resolutions: tuple[float, ...] = Field(
        (0, 5, 8), description="added blur, full width at half maximum, mm"
    )
    full: bool = Field(
        False, description="whether to blur every shifted and scaled row, not the plain one alone"
    )
    cases: tuple[str, ...] | None = Field(
        None,
        description="cases; empty: the test cases of the run, else all labelled ones that did not "
        "train the segmenter",
    )
    seed: int = Field(0, ge=0, description="seed of the directions")
    precision: Precision = Field(
        "auto", description="auto: bf16 where the device is faster with it, else 32 bit"
    )
    tracking: TrackingSettings = Field(
        default_factory=lambda: validate(TrackingSettings, {}), description="W&B"
    )
