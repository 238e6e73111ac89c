"""The command `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Config, KeyValues, Stores, read_stores


@clean_stop
def embed(
    folder: Annotated[
        Path, typer.Argument(help="Encoder, network or segmenter folder, or a run with one.")
    ],
    store: Stores,
    out: Annotated[Path, typer.Option(help="Folder for vectors, table and page.")],
    settings: KeyValues = None,
    near: Annotated[
        list[str] | None, typer.Option(help="Case whose nearest neighbours are listed; may repeat.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another folder to rank by frozen features; may repeat."),
    ] = None,
    config: Config = None,
) -> None:
    """Embed cases, patches and nodes, map them, and rank networks without fine-tuning them."""
    from hilum.annotate.embedding.embed import embed as run
    from hilum.annotate.embedding.settings import EmbedSettings
    from hilum.core.errors import DataError, did_you_mean
    from hilum.core.settings import load
    from hilum.datasets.store.case_store import CaseStore

    asked = load(EmbedSettings, config or [], settings or [])
    stores = read_stores(store)
    known = CaseStore(stores).rows
    if wrong := [case for case in near or [] if case not in known]:
        raise DataError(
            f"--near must name a case of the store{did_you_mean(wrong[0], known)}",
            found=", ".join(wrong[:5]),
            remedy="name it as the manifest does",
        )
    with progress("embed") as told:
        found = run(
            folder,
            stores,
            out,
            against=against or [],
            settings=asked,
            say=say,
            progress=told,
        )
    for case in near or []:
        like = found.neighbours(case, asked.neighbours)
        say(f"{case} is like {', '.join(f'{one.case} ({one.likeness:.2f})' for one in like)}")
    say(f"{len(found.rows)} embeddings, table and page in {out}")
