"""Settings of how unlabelled cases train: by a mean teacher, by pseudo-labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hilum.core.settings import Settings


class TeacherSettings(Settings):
    """Whether and how unlabelled cases of the pool train, too."""

    weight: float = Field(
        0.0,
        ge=0,
        description="final weight of the consistency loss with the teacher, no unit; 0: no teacher",
    )
    ramp: float = Field(
        0.4, ge=0, le=1, description="linear ramp of the weight, fraction of the steps"
    )
    decay: float = Field(0.99, ge=0, lt=1, description="EMA decay of the teacher per step")


class PseudoSettings(Settings):
    """Whether unlabelled cases of the pool train with the confident predictions of a segmenter."""

    segmenter: Path | None = Field(
        None, description="segmenter folder that predicts pseudo-labels; empty: none"
    )
    threshold: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="minimum probability of a pseudo-label; voxels below are unknown",
    )
