"""The commands of the front door that deal with data: from raw scans to the case store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Config, KeyValues, Workers, read_names


@clean_stop
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder of the new cohort.")],
    settings: KeyValues = None,
    config: Config = None,
    workers: Workers = 1,
) -> None:
    """Write a paired CT/PET node cohort with exact ground truth."""
    from hilum.core.settings import load
    from hilum.datasets.phantoms.cohort import PhantomSettings, write_cohort

    resolved = load(PhantomSettings, config or [], settings or [])
    with progress("phantom") as show:
        say(f"wrote {write_cohort(out, resolved, workers, show)}")


@clean_stop
def import_(
    format: Annotated[str, typer.Argument(help="Layout on disk; see `hilum list formats`.")],  # noqa: A002
    root: Annotated[Path, typer.Argument(help="Folder to read (for table: the file).")],
    out: Annotated[Path, typer.Option(help="Where to write manifest.csv.")],
    settings: KeyValues = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="What a name in the layout means, as in suv=pet; x= skips it."),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(help="What a value of the masks means, as in 255=1; repeat for more."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Labels mark only some of the nodes.")
    ] = False,
    workers: Workers = 1,
) -> None:
    """Read a layout on disk into a manifest; what cannot be read is left out and named."""
    from hilum.datasets.importers.importing import import_cohort
    from hilum.datasets.io.mask_values import read_values

    names = read_names(name or [])
    with progress("import") as show:
        import_cohort(
            format,
            root,
            out,
            names,
            options=settings or [],
            values=read_values(value or ()),
            partial=partial,
            workers=workers,
            progress=show,
            say=say,
        )


@clean_stop
def check(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv of the cohort.")],
    out: Annotated[Path | None, typer.Option(help="Folder for check.json and thumbnails.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings block, too.")] = False,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Classes with background; empty: by the labels.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Check a cohort for geometry, unit, label and leakage problems; exit code 1 if one blocks."""
    from hilum.datasets.check.run import check as run

    with progress("check") as show:
        report = run(manifest, out, strict, classes=classes, workers=workers, progress=show)
    for line in report.table():
        say(line)
    if report.blocking:
        raise typer.Exit(1)


@clean_stop
def prepare(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv of the cohort.")],
    out: Annotated[Path, typer.Option(help="Folder of the case store.")],
    settings: KeyValues = None,
    config: Config = None,
    workers: Workers = 1,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="CASE", help="Case that the store shall not have; may repeat."),
    ] = None,
) -> None:
    """Bring every case to one grid, crop the body, and write the case store."""
    from hilum.core.settings import load
    from hilum.datasets.prepare.run import PrepareSettings
    from hilum.datasets.prepare.run import prepare as run

    resolved = load(PrepareSettings, config or [], settings or [])
    with progress("prepare") as show:
        store = run(manifest, out, resolved, workers, show, leave_out=leave_out or (), say=say)
    say(f"{store.path}: {len(store.ids)} cases, {', '.join(store.modalities)}, {store.fingerprint}")


@clean_stop
def preview(
    store: Annotated[Path, typer.Argument(help="Folder of the case store.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    settings: KeyValues = None,
    config: Config = None,
) -> None:
    """Draw augmented patches as a network receives them."""
    from hilum.core.settings import load
    from hilum.datasets.preview_store import PreviewSettings, preview_store

    say(f"wrote {preview_store(store, out, load(PreviewSettings, config or [], settings or []))}")


@clean_stop
def export_nnunet(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv of the cohort.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset, called DatasetXXX_Name.")],
    settings: KeyValues = None,
    config: Config = None,
    workers: Workers = 1,
) -> None:
    """Write a cohort as an nnU-Net raw dataset, with folds by patient."""
    from hilum.core.settings import load
    from hilum.datasets.nnunet_export import NnunetExport
    from hilum.datasets.nnunet_export import export_nnunet as run

    resolved = load(NnunetExport, config or [], settings or [])
    with progress("export") as show:
        written = run(manifest, out, resolved, workers, show)
    for line in written.lines():
        say(line)
