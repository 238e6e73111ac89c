"""Where the time of a training run goes, whichever stage its settings are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.finetune.settings import FinetuneSettings
    from hilum.pretrain.settings import PretrainSettings
    from hilum.training.bench import Bench


def time_of_run(settings: PretrainSettings | FinetuneSettings, steps: int = 10) -> Bench:
    """Measure some steps of a run of these settings, as `hilum bench` does."""
    from hilum.pretrain.settings import PretrainSettings

    if isinstance(settings, PretrainSettings):
        from hilum.pretrain.bench import bench as pretraining

        return pretraining(settings, steps)
    from hilum.finetune.bench import bench as finetuning

    return finetuning(settings, steps)
