"""The commands of `hilum annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Config, KeyValues, read_names

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


@annotate.command("propose")
@clean_stop
def annotate_propose(
    segmenter: Annotated[Path, typer.Argument(help="Segmenter folder, run, or folder of folds.")],
    manifest: Annotated[Path, typer.Argument(help="manifest.csv, which names the scans.")],
    out: Annotated[Path, typer.Option(help="A folder per case; none is written over.")],
    settings: KeyValues = None,
    plan: Annotated[
        Path | None, typer.Option(help="labelling.csv; else all cases without a label.")
    ] = None,
    dicom: Annotated[
        list[str] | None,
        typer.Option(help="CASE=FOLDER with the DICOM series of the scan; may repeat."),
    ] = None,
    config: Config = None,
) -> None:
    """Write sensitive masks for labellers: NIfTI, 3D Slicer, ITK-SNAP, DICOM SEG, and a page."""
    from hilum.annotate.proposing.propose import propose
    from hilum.annotate.proposing.settings import ProposalSettings
    from hilum.core.settings import load

    asked = load(ProposalSettings, config or [], settings or [])
    series = {case: Path(folder) for case, folder in read_names(dicom or []).items()}
    with progress("propose") as told:
        found = propose(
            segmenter,
            manifest,
            out,
            plan=plan,
            dicom=series,
            settings=asked,
            say=say,
            progress=told,
        )
    count = sum(len(one.nodes) for one in found)
    say(f"{count} proposals in {len(found)} cases: a page each in {out}/CASE/CASE.html")
