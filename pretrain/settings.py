"""Settings of a pretraining run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from hilum.core.geometry import IntTriple
from hilum.core.methods import Method
from hilum.core.settings import Settings
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.splits import SplitSettings
from hilum.datasets.store.pool_settings import PoolSettings
from hilum.training.settings import TrainerSettings


class MonitorSettings(Settings):
    """How the features are watched at each validation; none of this changes the encoder."""

    on: bool = Field(
        True, description="whether to monitor; one more forward pass per validation patch"
    )
    voxels: int = Field(
        128, ge=2, description="maximum of voxels of the coarsest features to look at, per patch"
    )
    least_rank: float = Field(
        1.05, ge=0, description="alarm below this effective rank of the voxels' features"
    )
    least_std: float = Field(
        0.01,
        ge=0,
        description="alarm below this spread of the features on the unit sphere, no unit, 0 to 1",
    )
    entropy: tuple[float, float] = Field(
        (0.01, 0.9995),
        description="alarm outside this range of teacher entropy, fraction of the maximum",
    )
    stop: bool = Field(False, description="end the run at an alarm; else it is a warning")


class ProbeSettings(Settings):
    """A linear map and neighbours on frozen features of labelled patches, while the run goes on."""

    every: int = Field(
        0,
        ge=0,
        description="validations between probes, and one at the end; 0: no probe, no label read",
    )
    patients: int = Field(
        4,
        ge=2,
        description="maximum of labelled patients with nodes, never of the test; half are fitted, "
        "half measure",
    )
    patches: int = Field(8, ge=1, description="patches of each half, every other one on a node")
    voxels: int = Field(
        256, ge=1, description="maximum of voxels per class and patch, to fit and for neighbours"
    )
    ridge: float = Field(1e-3, gt=0, description="ridge penalty, no unit; features have variance 1")
    neighbours: int = Field(
        20, ge=1, description="number of neighbours that vote, the nearer the more"
    )


class PretrainSettings(PoolSettings):
    """What to learn from, how, and how long."""

    # Not trainer.steps: the plan's length is that of fine-tuning.
    planned: ClassVar[tuple[str, ...] | None] = (
        "modalities",
        "encoder",
        "patch",
        "trainer.batch_size",
    )

    seed: int = Field(0, ge=0, description="seed of weights, patches, masks and augmentation")
    split: SplitSettings = Field(
        default_factory=lambda: SplitSettings.model_validate({}),
        description="which patients test; none of them is ever seen here",
    )
    validation: int = Field(
        1,
        ge=0,
        description="patients of the pool kept apart for the validation loss; 0: training patients",
    )
    modalities: tuple[str, ...] | None = Field(
        None, min_length=1, description="input channels in this order; empty: all of the store"
    )
    encoder: Annotated[dict[str, Any], Method("encoders")] = Field(
        default_factory=lambda: {"name": "resenc"},
        description="name and parameters of the encoder; `hilum list encoders`",
    )
    task: Annotated[dict[str, Any], Method("pretext")] = Field(
        default_factory=lambda: {"name": "synthetic_nodes"},
        description="name and parameters of the pretext task; `hilum list pretext`",
    )
    patch: IntTriple = Field((64, 64, 64), description="sides of a patch, voxels")
    augmentation: AugmentationSettings = Field(
        default_factory=lambda: AugmentationSettings.model_validate({}),
        description="random changes of the patches; dropout hides whole modalities",
    )
    trainer: TrainerSettings = Field(
        default_factory=lambda: TrainerSettings.model_validate({}),
        description="length, optimisation, checkpoints, tracking",
    )
    monitors: MonitorSettings = Field(
        default_factory=lambda: MonitorSettings.model_validate({}),
        description="rank, spread and entropy of the features, with an alarm on collapse",
    )
    probe: ProbeSettings = Field(
        default_factory=lambda: ProbeSettings.model_validate({}),
        description="an online probe of the features with a few labels; off by default",
    )
    init_from: Path | None = Field(None, description="encoder folder to go on from; empty: none")

    @field_validator("encoder")
    @classmethod
    def _usual_encoder(cls, encoder: dict[str, Any]) -> dict[str, Any]:
        """Let `encoder.size=tiny` mean the default encoder."""
        return {"name": "resenc", **encoder}

    @field_validator("task")
    @classmethod
    def _usual_task(cls, task: dict[str, Any]) -> dict[str, Any]:
        return {"name": "synthetic_nodes", **task}

    @field_validator("patch")
    @classmethod
    def _positive(cls, patch: IntTriple) -> IntTriple:
        if min(patch) < 1:
            raise ValueError("sides must be at least 1")
        return patch

    @field_validator("modalities")
    @classmethod
    def _once(cls, modalities: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if modalities and len(set(modalities)) < len(modalities):
            raise ValueError("each modality once")
        return modalities
