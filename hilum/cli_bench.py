"""The command `bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from hilum.cli_data import Config
from hilum.cli_study import KeyValues
from hilum.console import clean_stop, say


@clean_stop
def bench(
    settings: KeyValues = None,
    config: Config = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that count.")] = 10,
) -> None:
    """Say where the time of a fine-tuning run goes here, what limits it, and what to change."""
    from hilum.core.settings import load
    from hilum.finetune.settings import FinetuneSettings

    resolved = load(FinetuneSettings, config or [], settings or [])
    from hilum.finetune.bench import advice
    from hilum.finetune.bench import bench as run

    found = run(resolved, steps)
    for line in [*found.lines(), *advice(found, resolved)]:
        say(line)
