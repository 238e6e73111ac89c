"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import SettingsError

from .console import clean_stop, progress, say
from .options import Config, KeyValues, Workers, read_stores
from .robustness_matrix import show_matrix


@clean_stop
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(help="Folder of masks, <case>.nii.gz; --robustness: segmenter folder."),
    ],
    manifest: Annotated[
        str,
        typer.Argument(
            help="manifest.csv with the reference labels, or a folder of masks with the same "
            "names; --robustness: case store, or a pool, lung=FOLDER,neck=FOLDER."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    site: Annotated[
        bool, typer.Option("--site", help="Add the metrics of each site to cohort.json.")
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Measure a segmenter with modalities missing, shifted, mis-scaled and blurred, "
            "as the command robustness does.",
        ),
    ] = False,
    workers: Workers = 1,
    settings: KeyValues = None,
    config: Config = None,
) -> None:
    """Compare masks, made by any tool, with references: per case, per node, per cohort."""
    if robustness:
        if site or workers > 1:
            other = "--site" if site else "--workers"
            raise SettingsError(
                f"{other} and --robustness cannot go together", remedy="leave one of them out"
            )
        return show_matrix(predictions, read_stores(manifest), out, settings, config)
    from hilum.core.settings import load
    from hilum.evaluation.settings import EvaluationSettings

    asked = load(EvaluationSettings, config or [], settings or [])
    from hilum.segmenter.assessment.evaluate import evaluate as run

    with progress("evaluate") as show:
        found = run(
            predictions,
            manifest,
            out,
            by_site=site,
            settings=asked,
            workers=workers,
            progress=show,
        )
    for line in found.lines():
        say(line)
    return None
