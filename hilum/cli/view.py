"""The command `view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, say


@clean_stop
def view(
    folder: Annotated[Path, typer.Argument(help="Predictions, or a run that holds some.")],
    manifest: Annotated[
        Path | None,
        typer.Option(help="manifest.csv: scans for masks of other tools, labels as reference."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Look at predictions slice by slice: CT, PET and both, with contours and the node table."""
    from hilum.segmenter.prediction.viewing import view as run

    run(folder, manifest=manifest, port=port, browser=browser, say=say)
