"""The commands of `hilum annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Config, KeyValues

annotate = typer.Typer(help="The labelling loop: whom to label, propose, correct, take back.")


@annotate.command("plan")
@clean_stop
def annotate_plan(
    store: Annotated[Path, typer.Argument(help="Case store.")],
    labels: Annotated[int, typer.Option(min=1, help="Patients to choose.")],
    settings: KeyValues = None,
    strategy: Annotated[
        str, typer.Option(help="random, typical, coverage, uncertain; `hilum list labelling`.")
    ] = "typical",
    encoder: Annotated[
        Path | None,
        typer.Option(help="Folder of a network, or of `hilum embed`, whose embeddings count."),
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(help="Segmenter that says where it is unsure, and what labelling will take."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The new file.")] = Path("labelling.csv"),
    config: Config = None,
) -> None:
    """Choose whom to label next; a fine-tuning uses the file by split.choose=labelling.csv."""
    from hilum.annotate.planning.plan import plan
    from hilum.annotate.planning.settings import LabellingSettings
    from hilum.core.settings import load

    asked = load(LabellingSettings, config or [], settings or [])
    with progress("plan") as told:
        plan(
            store,
            out,
            labels=labels,
            strategy=strategy,
            encoder=encoder,
            segmenter=segmenter,
            settings=asked,
            say=say,
            progress=told,
        )
    say(f"the plan is {out}")
