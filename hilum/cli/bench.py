"""The command `bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import clean_stop, say
from .data import Config
from .study import KeyValues


@clean_stop
def bench(
    settings: KeyValues = None,
    config: Config = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that count.")] = 10,
    pretraining: Annotated[
        bool, typer.Option("--pretrain", help="The settings are those of `hilum pretrain`.")
    ] = False,
) -> None:
    """Say where the time of a training run goes here, what limits it, and what to change."""
    from hilum.core.settings import load

    if pretraining:
        from hilum.pretrain.settings import PretrainSettings

        resolved = load(PretrainSettings, config or [], settings or [])
        from hilum.pretrain.bench import bench as pretrain

        found = pretrain(resolved, steps)
    else:
        from hilum.finetune.settings import FinetuneSettings

        resolved = load(FinetuneSettings, config or [], settings or [])
        from hilum.finetune.bench import bench as finetune

        found = finetune(resolved, steps)
    from hilum.training.bench import advice

    for line in [*found.lines(), *advice(found, resolved.trainer)]:
        say(line)
