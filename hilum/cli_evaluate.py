"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.console import clean_stop, say


@clean_stop
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of masks, <case>.nii.gz.")],
    manifest: Annotated[
        Path,
        typer.Argument(
            help="manifest.csv with the reference labels, or a folder of masks with the same names."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    site: Annotated[
        bool, typer.Option("--site", help="Add the metrics of each site to cohort.json.")
    ] = False,
) -> None:
    """Compare masks, made by any tool, with references: per case, per node, per cohort."""
    from hilum.finetune.evaluate import evaluate as run

    for line in run(predictions, manifest, out, by_site=site).lines():
        say(line)
