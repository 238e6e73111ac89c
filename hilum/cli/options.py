"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import UserError

KeyValues = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings; `hilum settings COMMAND` lists them."),
]
MethodNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=METHOD]...", help="Its parameters, as in loss=tversky."),
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


def read_names(texts: Sequence[str]) -> dict[str, str]:
    """Return what words mean, of texts such as `suv=pet`; nothing for `x=`, to skip a word.

    A text is split at its last sign, since a column may have one in its name.

    Raises:
        UserError: If a text is something else, or a word stands twice with two meanings.
    """
    found: dict[str, str] = {}
    for text in texts:
        word, sign, meaning = text.rpartition("=")
        if not sign or not word:
            remedy = "as in suv=pet, or x= to skip x"
            raise UserError("a name must be written word=modality", found=text, remedy=remedy)
        if found.setdefault(word, meaning) != meaning:
            raise UserError(f"{word} must mean one thing", found=f"{found[word]!r}, {meaning!r}")
    return found
