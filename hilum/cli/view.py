"""The command `view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import SettingsError

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
    correct: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Correct proposals of `hilum annotate propose`, by this rater; with --manifest.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where corrections go; FOLDER_NAME without it.")
    ] = None,
) -> None:
    """Look at predictions slice by slice with contours and node table, or correct proposals."""
    if correct is not None:
        from hilum.annotate.correcting.correct import correct as run_corrections

        if manifest is None:
            raise SettingsError("correcting needs the scans", remedy="add --manifest manifest.csv")
        run_corrections(
            folder, manifest, rater=correct, out=out, port=port, browser=browser, say=say
        )
        return
    if out is not None:
        raise SettingsError("--out is for corrections", remedy="add --correct NAME")
    from hilum.segmenter.prediction.viewing import view as run

    run(folder, manifest=manifest, port=port, browser=browser, say=say)
