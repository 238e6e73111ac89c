"""A pretraining run for `hilum bench`: taken apart, and as it is."""

from __future__ import annotations

from functools import partial
from typing import Any

from hilum.core.settings import validate
from hilum.training import bench as training
from hilum.training.bench import Bench, Parts

from .ready import parts_of
from .run import pretrain
from .settings import PretrainSettings


def bench(settings: PretrainSettings, steps: int = 10) -> Bench:
    """Measure a run of these settings for some steps, see `training.bench`."""
    return training.bench(partial(short, settings), apart, pretrain, steps)


def short(settings: PretrainSettings, steps: int, mode: str) -> PretrainSettings:
    """Return the settings of a run of a few steps without validation, probe or checkpoints."""
    values: dict[str, Any] = settings.model_dump()
    values["trainer"] = training.short(values["trainer"], steps, mode)
    values["probe"]["every"] = 0
    return validate(PretrainSettings, values)


def apart(settings: PretrainSettings) -> Parts:
    """Return the parts of a run of these settings."""
    module, data = parts_of(settings)
    return Parts(
        module,
        data,
        lambda batch, step: module.view(batch, True, "train", step, 0),
        lambda view: module.task.loss(view)[0],
        lambda step: module.task.after_step(step, settings.trainer.steps),
    )
