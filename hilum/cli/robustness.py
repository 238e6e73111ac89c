"""The command `robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop
from .options import Config, KeyValues, Stores, read_stores
from .robustness_matrix import show_matrix


@clean_stop
def robustness(
    segmenter: Annotated[Path, typer.Argument(help="Segmenter folder.")],
    store: Stores,
    out: Annotated[Path, typer.Option(help="Folder for the matrix.")],
    settings: KeyValues = None,
    config: Config = None,
) -> None:
    """Measure what a segmenter loses with a modality missing, shifted, mis-scaled or blurred."""
    show_matrix(segmenter, read_stores(store), out, settings, config)
