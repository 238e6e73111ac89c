"""Settings of a training run: length, optimisation, precision, checkpoints, tracking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings


class TrackingSettings(Settings):
    """Where a run is shown on W&B; none of this changes a result."""

    mode: Literal["offline", "online", "disabled"] = Field(
        "offline",
        description="offline writes files for `wandb sync`; online without a key is offline",
    )
    project: str = Field("hilum", min_length=1, description="W&B project; a study sets its name")
    group: str | None = Field(None, description="runs that W&B averages, such as seeds of an arm")
    job_type: str | None = Field(None, description="pretrain, finetune, test or ablate")
    name: str | None = Field(None, description="readable name of the run")
    tags: tuple[str, ...] = Field((), description="such as fusion:early or labels:10")
    factors: dict[str, str | int | float] = Field(
        default_factory=dict,
        description="levels of factors, columns `factors.NAME` on W&B, no unit; a study sets them",
    )
    id: str | None = Field(None, description="identity of the run; a study sets the cell's hash")


class TrainerSettings(Settings):
    """How long and how to train; shared by pretraining and fine-tuning."""

    steps: int = Field(1000, ge=1, description="optimiser steps of the whole run")
    minutes: float | None = Field(
        None,
        gt=0,
        description="minutes of training over all sessions, validation included; the run ends at "
        "the steps or at these, whichever comes first; empty: no limit",
    )
    batch_size: int = Field(2, ge=1, description="patches per forward pass and device")
    accumulate: int = Field(1, ge=1, description="forward passes per optimiser step")
    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate, no unit")
    weight_decay: float = Field(
        0.01, ge=0, description="decoupled weight decay; norms and biases have none"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="warm-up, fraction of the steps")
    schedule: Literal["poly", "cosine"] = Field(
        "cosine", description="learning-rate schedule after the warm-up"
    )
    clip: float = Field(
        1.0, ge=0, description="maximum gradient norm, no unit; 0 disables clipping"
    )
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device is faster with it, else 32 bit"
    )
    compile: Literal["off", "on", "graphs"] = Field(
        "off",
        description="on: torch.compile, a minute at the start; graphs: with CUDA graphs, for small "
        "networks on a GPU",
    )
    channels_last: bool | None = Field(
        None,
        description="3D maps with channels last in memory; empty: on a GPU, for networks most of "
        "whose weights are 3D kernels",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="processor threads; empty: OMP_NUM_THREADS, else a core each but for workers",
    )
    devices: int = Field(
        1, ge=1, description="processes per machine, each with a GPU if there are; data-parallel"
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="how several processes share the work: ddp (as auto) copies the weights, fsdp "
        "divides weights, gradients and optimiser state among them; fsdp for pretraining only",
    )
    nodes: int = Field(
        1, ge=1, description="number of machines; above 1, start with srun or torchrun"
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="threads that read patches ahead; 0: each is read when it is due; empty: up to "
        "4 for a GPU, 0 for a processor, which computes meanwhile",
    )
    validate_every: int = Field(100, ge=1, description="steps between validations")
    save_every: int = Field(100, ge=1, description="steps between checkpoints of the whole state")
    log_every: int = Field(10, ge=1, description="steps between logged training metrics")
    patience: int = Field(
        0, ge=0, description="validations without a better value before stopping; 0: never"
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="EMA decay per step; after step n at most (1 + n) / (10 + n); 0 disables EMA",
    )
    tracking: TrackingSettings = Field(
        default_factory=lambda: TrackingSettings.model_validate({}), description="W&B"
    )

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.nodes

    def length(self) -> str:
        """Return in words how long it trains; minutes and patience may end it before its steps."""
        most = "at most " if self.minutes is not None or self.patience else ""
        within = f" within {self.minutes:g} min" if self.minutes is not None else ""
        return f"{most}{self.steps} steps{within}"
