"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

KeyValues = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings; `hilum settings COMMAND` lists them."),
]
Config = Annotated[
    list[Path] | None,
    typer.Option(
        "-c",
        "--config",
        help="YAML file with settings, or a recipe as in few_label; later wins.",
    ),
]
StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML), or a recipe's name.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would run, and stop.")]
