"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import StoreError, UserError

STORES = "Case store, or several as one pool: lung=FOLDER,neck=FOLDER"
Stores = Annotated[str, typer.Argument(help=f"{STORES}.")]

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


def read_stores(text: str | Path) -> str | dict[str, str]:
    """Return the folder of a case store, or of each store of a pool, as `store=` of a run takes it.

    A folder that exists is a store, whatever its name.

    Args:
        text: `FOLDER`, or `lung=FOLDER,neck=FOLDER`.

    Raises:
        StoreError: If a part of a pool has no name or no folder, or a name stands twice.

    Examples:
        >>> read_stores("lung=work/lung,neck=work/neck")
        {'lung': 'work/lung', 'neck': 'work/neck'}
        >>> read_stores("work/store")
        'work/store'
    """
    text = str(text)
    if "=" not in text or Path(text).exists():
        return text
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, folder = part.strip().partition("=")
        if not name or not folder:
            raise StoreError(
                "each store of a pool needs a name and a folder",
                found=repr(part),
                remedy="as in a=FOLDER,b=FOLDER",
            )
        if name in found:
            raise StoreError(
                "a pool has each name once", found=f"{name} twice", remedy="name every store"
            )
        found[name] = folder
    return found


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
            raise UserError(
                f"{word} must mean one thing",
                found=f"{found[word]!r}, {meaning!r}",
                remedy="say it once",
            )
    return found
