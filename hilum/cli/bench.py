"""The command `bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import clean_stop, say
from .options import Config, KeyValues


@clean_stop
def bench(
    settings: KeyValues = None,
    config: Config = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that count.")] = 10,
    pretraining: Annotated[
        bool, typer.Option("--pretrain", help="The settings are those of `hilum pretrain`.")
    ] = False,
) -> None:
    """Measure where the time of a training run goes on this machine, and what limits it."""
    from hilum.core.settings import load

    if pretraining:
        from hilum.pretrain.settings import PretrainSettings as Model
    else:
        from hilum.finetune.settings import FinetuneSettings as Model
    resolved = load(Model, config or [], settings or [])
    from hilum.training.bench import advice

    from .time_of_run import time_of_run

    found = time_of_run(resolved, steps)
    for line in [*found.lines(), *advice(found, resolved.trainer)]:
        say(line)
