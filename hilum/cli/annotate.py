"""The commands of `hilum annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Config, KeyValues, Stores, read_names, read_stores

annotate = typer.Typer(
    help="The labelling loop: choose patients, predict proposals, correct them, import them.",
    rich_markup_mode=None,
)


@annotate.command("plan")
@clean_stop
def annotate_plan(
    store: Stores,
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
        typer.Option(help="Segmenter that estimates uncertainty, nodes and slices to label."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The new file (CSV).")] = Path("labelling.csv"),
    config: Config = None,
) -> None:
    """Choose whom to label next; a fine-tuning uses the file by split.choose=labelling.csv."""
    from hilum.annotate.planning.plan import plan
    from hilum.annotate.planning.settings import LabellingSettings
    from hilum.core.settings import load

    asked = load(LabellingSettings, config or [], settings or [])
    with progress("plan") as told:
        plan(
            read_stores(store),
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
        typer.Option(help="CASE=FOLDER with another DICOM series than the imported; may repeat."),
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


@annotate.command("take")
@clean_stop
def annotate_take(
    folder: Annotated[Path, typer.Argument(help="What the labeller gave back.")],
    manifest: Annotated[Path, typer.Argument(help="manifest.csv; its column label is changed.")],
    proposals: Annotated[Path, typer.Option(help="What `hilum annotate propose` wrote.")],
    rater: Annotated[str, typer.Option(help="Who corrected.")],
    settings: KeyValues = None,
    store: Annotated[
        Path | None, typer.Option(help="Store of the manifest, to bring up to date.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Where versions are kept; labels/ next to the manifest.")
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="Case that is right as it was proposed, or empty; may repeat."),
    ] = None,
    use: Annotated[
        bool, typer.Option("--use", help="Let them count where somebody else's label does now.")
    ] = False,
    runs: Annotated[
        list[Path] | None, typer.Option(help="Folder with runs, to name the stale; may repeat.")
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option(help="Meaning of a mask's value, as 255=1; may repeat.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Class of a segment, as Tumour=2; may repeat.")
    ] = None,
    config: Config = None,
) -> None:
    """Take corrected masks for labels: checked, kept by version, the store brought up to date."""
    from hilum.annotate.taking.settings import TakeSettings
    from hilum.annotate.taking.take import take
    from hilum.core.settings import load
    from hilum.datasets.io.mask_values import read_values

    take(
        folder,
        proposals,
        manifest,
        rater=rater,
        store=store,
        labels=labels,
        confirm=confirm or [],
        use=use,
        runs=runs or [],
        values=read_values(value or []),
        segments=_classes(segment or []),
        settings=load(TakeSettings, config or [], settings or []),
        say=say,
    )


@annotate.command("status")
@clean_stop
def annotate_status(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv of the cohort.")],
    labels: Annotated[
        Path | None, typer.Option(help="Versions of labels; labels/ next to the manifest.")
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option(help="Folder with runs for the curve; may repeat.")
    ] = None,
    more: Annotated[int, typer.Option(min=1, help="Patients thought of next.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Page to write.")] = None,
) -> None:
    """Show who has labels, what rounds changed, the learning curve and its extrapolation."""
    from hilum.annotate.standing.status import status

    status(manifest, labels=labels, runs=runs or [], more=more, out=out, say=say)


def _classes(texts: list[str]) -> dict[str, int]:
    """Return the class of each segment, of texts such as `Tumour=2`."""
    from hilum.core.errors import SettingsError

    found = {}
    for name, value in read_names(texts).items():
        if not value.isdigit():
            raise SettingsError(
                "a class must be a number",
                found=f"{name}={value}",
                remedy="as in --segment 'new node=1'",
            )
        found[name] = int(value)
    return found
