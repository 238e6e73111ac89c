"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.console import clean_stop, progress, say
from hilum.core.errors import UserError


@clean_stop
def predict(
    segmenter: Annotated[Path, typer.Argument(help="Segmenter folder.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, node tables and pictures.")],
    manifest: Annotated[Path | None, typer.Option(help="manifest.csv of the cases.")] = None,
    ct: Annotated[Path | None, typer.Option(help="CT of one case.")] = None,
    pet: Annotated[Path | None, typer.Option(help="PET of one case, in SUV.")] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Use only these, as in `ct` or `ct,pet`.")
    ] = None,
) -> None:
    """Segment scans: masks on the original CT grid, node table, overlays."""
    from hilum.finetune.predict import predict as run

    volumes = {name: file for name, file in (("ct", ct), ("pet", pet)) if file}
    if bool(volumes) == bool(manifest):
        raise UserError("give either --manifest or the volumes of one case (--ct, --pet)")
    with progress("predict") as show:
        only = tuple(modalities.split(",")) if modalities else None
        summary = run(segmenter, manifest or volumes, out, modalities=only, progress=show)
    say(f"wrote {summary}")
