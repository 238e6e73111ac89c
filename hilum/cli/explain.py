"""The command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .options import Stores, read_stores


@clean_stop
def explain(
    segmenter: Annotated[Path, typer.Argument(help="Segmenter folder.")],
    store: Stores,
    out: Annotated[Path, typer.Option(help="Folder for maps, pictures and the table of nodes.")],
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="Cases; may repeat. The run's test cases without it, or all if there are none."
        ),
    ] = None,
) -> None:
    """Attribute each prediction to CT, PET or both, per voxel and per node."""
    from hilum.core.side_files import read_side
    from hilum.datasets.store.case_store import CaseStore
    from hilum.segmenter.assessment.explain import explain as run
    from hilum.segmenter.segmenter import Segmenter

    cases = CaseStore(read_stores(store))
    split = segmenter.parent / "split.json"
    ids = case or (split.exists() and read_side(split).get("test")) or cases.ids
    for name in ids:
        cases.row(name)
    with progress("explain") as show:
        table = run(Segmenter.from_pretrained(segmenter), cases, ids, out, progress=show)
    say(f"wrote {table}")
