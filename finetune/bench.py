"""A fine-tuning run for `hilum bench`: taken apart, and as it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.training import bench as training
from hilum.training.bench import Bench, Parts

from .ready import parts_of
from .run import finetune
from .settings import FinetuneSettings


def bench(settings: FinetuneSettings, steps: int = 10) -> Bench:
    """Measure a run of these settings for some steps, see `training.bench`.

    Raises:
        SettingsError: If nothing would be trained: the time would be that of another run.
    """
    for name, asked in (
        ("baseline", settings.baseline is not None),
        ("split.labels=0", settings.split.labels == 0),
    ):
        if asked:
            raise SettingsError(
                f"with {name} nothing is trained that could be measured", remedy=f"leave out {name}"
            )
    return training.bench(partial(short, settings), apart, quietly, steps)


def quietly(settings: FinetuneSettings, folder: Path) -> object:
    """Make a run that says nothing."""
    return finetune(settings, folder, say=lambda text: None)


def short(settings: FinetuneSettings, steps: int, mode: str) -> FinetuneSettings:
    """Return the settings of a run of a few steps without validation, test or checkpoints."""
    values: dict[str, Any] = settings.model_dump()
    values["trainer"] = training.short(values["trainer"], steps, mode)
    values["split"]["validation"] = 0
    return validate(FinetuneSettings, values | {"evaluate_test": False, "pictures": 0})


def apart(settings: FinetuneSettings) -> Parts:
    """Return the parts of a run of these settings."""
    module, data = parts_of(settings)

    def loss(ready: Any) -> Tensor:
        logits = module.segmenter(ready["image"], ready["available"])
        return module.criterion(logits, ready["label"], None, module.targets(ready))[0]

    return Parts(module, data, lambda batch, step: module.augmentation(batch), loss)
