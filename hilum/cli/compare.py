"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import SettingsError

from .console import clean_stop, say
from .options import Config, KeyValues, Workers


@clean_stop
def compare(
    masks_a: Annotated[Path, typer.Argument(help="Folder of masks, <case>.nii.gz.")],
    masks_b: Annotated[Path, typer.Argument(help="Folder of masks of another tool.")],
    manifest: Annotated[
        Path,
        typer.Argument(
            help="manifest.csv with the reference labels, or a folder of masks with the same names."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables and report.")],
    names: Annotated[str | None, typer.Option(help="Names of the tools, as in one,two.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Metrics, as in dice,f1agg; `hilum list metrics` names them."),
    ] = None,
    margin: Annotated[float, typer.Option(help="Equivalence margin of fractions, above 0.")] = 0.02,
    workers: Workers = 1,
    settings: KeyValues = None,
    config: Config = None,
) -> None:
    """Compare the masks of any two tools, patient by patient, with intervals and a report."""
    from hilum.core.settings import load
    from hilum.evaluation.settings import EvaluationSettings

    asked = load(EvaluationSettings, config or [], settings or [])
    from hilum.study.masks.compare import compare as run

    pair = tuple(part.strip() for part in names.split(",")) if names is not None else None
    if pair is not None and len(pair) != 2:
        raise SettingsError(
            "--names must be two names, as in one,two",
            found=repr(names),
            remedy="give one for each folder of masks",
        )
    chosen = tuple(m.strip() for m in metrics.split(",")) if metrics is not None else None
    for line in run(
        masks_a,
        masks_b,
        manifest,
        out,
        names=pair,
        metrics=chosen,
        margin=margin,
        settings=asked,
        workers=workers,
    ).lines():
        say(line)
