"""Settings of how unlabelled cases train: by a mean teacher, by pseudo-labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from hilum.core.settings import Settings


class TeacherSettings(Settings):
    """Whether and how unlabelled cases of the pool train, too."""

    weight: float = Field(
        0.0,
        ge=0,
        description="final weight of the consistency loss with the teacher, no unit; 0: no teacher",
    )
    ramp: float = Field(
        0.4,
        ge=0,
        le=1,
        description="S-shaped rise of the weight, fraction of the steps; 0: full from the start",
    )
    decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="EMA decay of the teacher per step; after step n at most (1 + n) / (10 + n)",
    )


class PseudoSettings(Settings):
    """Whether unlabelled cases of the pool train with the confident predictions of a segmenter."""

    segmenter: Path | None = Field(
        None, description="segmenter folder that predicts pseudo-labels; empty: none"
    )
    keep: Path | None = Field(
        None,
        description="segmenter folder whose classes are kept: in training cases that were not "
        "labelled for a class that it knows, what it is sure of is the label; empty: none",
    )
    threshold: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="minimum probability of a pseudo-label; voxels below are unknown",
    )

    @property
    def makes_labels(self) -> bool:
        """Whether some segmenter labels."""
        return self.segmenter is not None or self.keep is not None

    @model_validator(mode="after")
    def _one_at_a_time(self) -> PseudoSettings:
        if self.segmenter is not None and self.keep is not None:
            raise ValueError("segmenter labels unlabelled cases, keep completes labels: choose one")
        return self
