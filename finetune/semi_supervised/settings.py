"""Settings of how unlabelled cases train: by a mean teacher, by pseudo-labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hilum.core.settings import Settings


class TeacherSettings(Settings):
    """Whether and how unlabelled cases of the pool train, too."""

    weight: float = Field(
        0.0, ge=0, description="weight of the agreement with the teacher at its end; 0: no teacher"
    )
    ramp: float = Field(0.4, ge=0, le=1, description="share of the run over which the weight rises")
    decay: float = Field(
        0.99, ge=0, lt=1, description="share of the teacher's weights that stays, per step"
    )


class PseudoSettings(Settings):
    """Whether unlabelled cases of the pool train with the confident predictions of a segmenter."""

    segmenter: Path | None = Field(
        None, description="segmenter folder that labels them; empty: none are labelled"
    )
    threshold: float = Field(
        0.9, gt=0.5, lt=1, description="least probability of a class; voxels below are unknown"
    )
