"""The command `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, say
from .options import Config, KeyValues, Stores, read_stores


@clean_stop
def calibrate(
    segmenter: Annotated[
        Path,
        typer.Argument(
            help="Segmenter folder, run folder, or folder of folds; the point is written there."
        ),
    ],
    store: Stores,
    out: Annotated[Path, typer.Option(help="Folder for the table and the page.")],
    settings: KeyValues = None,
    case: Annotated[
        list[str] | None,
        typer.Option(help="Cases that choose; may repeat. The validation cases without it."),
    ] = None,
    config: Config = None,
) -> None:
    """Choose the operating point of a segmenter on patients that neither train nor test."""
    from hilum.core.settings import load
    from hilum.segmenter.calibration.calibrate import calibrate as run
    from hilum.segmenter.calibration.choose import ChoiceSettings

    run(
        segmenter,
        read_stores(store),
        out,
        cases=case,
        settings=load(ChoiceSettings, config or [], settings or []),
        say=say,
    )
