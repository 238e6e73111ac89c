"""The command `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import UserError

from .console import clean_stop, progress, say
from .options import read_names

SETTLE = 10.0


class Flips(StrEnum):
    """Mirror images to predict, too."""

    none = "none"
    w = "w"
    all = "all"


class Uncertainty(StrEnum):
    """What to map."""

    entropy = "entropy"
    variance = "variance"


@clean_stop
def predict(
    segmenter: Annotated[
        list[str],
        typer.Argument(
            help="Segmenter folder; several, or a folder of folds, are averaged. KEY=VALUE are "
            "settings of DICOM, as in suv=lbm or assume=weight_kg=70."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for masks, node tables and pictures.")],
    input: Annotated[  # noqa: A002
        Path | None,
        typer.Option("-i", "--input", help="Case folder, folder of cases, DICOM, or manifest."),
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="manifest.csv of the cases.")] = None,
    ct: Annotated[
        Path | None, typer.Option(help="CT of one case: NIfTI, or folder of DICOM.")
    ] = None,
    pet: Annotated[
        Path | None, typer.Option(help="PET of one case: NIfTI in SUV, or folder of DICOM.")
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH of any modality of one case, as in mr_t1=FILE; repeatable."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="What a file, column or DICOM description means, as in suv=pet; x= skips it."
        ),
    ] = None,
    anatomy: Annotated[
        Path | None,
        typer.Option(help="Mask of organs or stations of that case: names each node's place."),
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Use only these, as in `ct` or `ct,pet`.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Less overlap, no mirror images, no empty windows; --overlap and --flips come "
            "first.",
        ),
    ] = False,
    flips: Annotated[
        Flips | None, typer.Option(help="Predict mirror images, too: left-right, or all axes.")
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(min=0, max=0.95, help="Overlap of neighbouring windows, fraction."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Windows per forward pass.")] = None,
    pictures: Annotated[bool, typer.Option(help="Draw each case.")] = True,
    watch: Annotated[
        Path | None,
        typer.Option(help="Predict each case folder that comes to lie in this one, until Ctrl-C."),
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change until it is complete.")
    ] = SETTLE,
    window: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Depth, height, width of one, in voxels.")
    ] = None,
    uncertainty: Annotated[
        Uncertainty | None, typer.Option(help="Write a map of it, and its mean in each node.")
    ] = None,
    probability: Annotated[
        bool, typer.Option("--probability", help="Write the probability of the foreground.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability above which a voxel is a node; for this call only."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The most probable class; no filter of components.")
    ] = False,
) -> None:
    """Segment scans: masks on the original CT grid, node table, overlays."""
    from hilum.segmenter.prediction.cohort import predict as run
    from hilum.segmenter.prediction.identity import load

    folders = [Path(one) for one in segmenter if "=" not in one or Path(one).exists()]
    dicom = [one for one in segmenter if "=" in one and not Path(one).exists()]
    if not folders:
        raise UserError(
            "predict needs a segmenter folder",
            found=" ".join(segmenter),
            remedy="name one before the options",
        )
    volumes = {name: file for name, file in (("ct", ct), ("pet", pet)) if file}
    volumes |= _named(modality or [], volumes)
    given = [one for one in (input, manifest, watch, volumes) if one]
    if anatomy and not volumes:
        raise UserError(
            "--anatomy goes with --ct, --pet or --modality; a manifest has a column anatomy",
            remedy="leave it out, or name the column in the manifest",
        )
    if len(given) != 1:
        raise UserError(
            "give either --manifest or the volumes of one case (--ct, --pet, --modality) or --input"
            " or --watch",
            remedy="leave out all but one of them",
        )
    if settle != SETTLE and not watch:
        raise UserError("--settle goes with --watch", remedy="leave it out, or watch a folder")
    volumes |= {"anatomy": anatomy} if anatomy else {}
    changes = {
        "flips": flips.value if flips else None,
        "overlap": overlap,
        "batch_size": batch,
        "window": window,
    }
    work = partial(
        run,
        modalities=tuple(m.strip() for m in modalities.split(",")) if modalities else None,
        fast=fast,
        changes=changes,
        pictures=pictures,
        uncertainty=uncertainty.value if uncertainty else None,
        probability=probability,
        threshold=threshold,
        raw=raw,
        dicom=dicom,
        names=read_names(name or []),
        say=say,
    )
    if watch:
        from hilum.segmenter.prediction.watch_folder import watch as wait

        model, _ = load(folders)
        say(f"watching {watch}; Ctrl-C ends it")
        wait(
            watch,
            lambda place: work(model, place, out / place.name),
            every=min(5.0, max(settle / 2, 0.1)),
            settle=settle,
            ignore=[out],
            say=say,
        )
        return
    with progress("predict") as show:
        summary = work(folders, given[0], out, progress=show)
    say(f"wrote {summary}")


def _named(pairs: list[str], known: Mapping[str, Path]) -> dict[str, Path]:
    """Return the path of each modality that is given as NAME=PATH."""
    found: dict[str, Path] = {}
    for pair in pairs:
        name, sign, path = pair.partition("=")
        if not (name and sign and path):
            raise UserError(
                "--modality must read NAME=PATH",
                found=repr(pair),
                remedy="as in --modality pet=scan.nii.gz",
            )
        if name in known or name in found:
            raise UserError(f"one path may be {name}", found=pair, remedy="give each modality once")
        found[name] = Path(path)
    return found
