"""The command `average`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.core.errors import SettingsError

from .console import clean_stop, say
from .options import read_stores

if TYPE_CHECKING:
    from hilum.datasets.store.case_store import CaseStore


@clean_stop
def average(
    out: Annotated[Path, typer.Argument(help="Segmenter folder to write.")],
    segmenters: Annotated[
        list[Path], typer.Argument(metavar="SEGMENTER...", help="Segmenter or run folders.")
    ],
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Leave out those that make the mean worse; see STORE.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(help="Case store, or pool, whose validation cases choose, for --greedy."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(help="Cases that choose; may repeat. The runs' validation cases without it."),
    ] = None,
) -> None:
    """Average the weights of segmenters of one recipe, as of several seeds, into one."""
    from hilum.datasets.store.case_store import CaseStore
    from hilum.segmenter.averaging import average as run
    from hilum.segmenter.averaging import dice_on
    from hilum.segmenter.config import read_segmenter_config

    if greedy != (store is not None) or (case and not greedy):
        raise SettingsError(
            "--greedy and --store go together, and --case needs both",
            remedy="give --greedy --store STORE, or none of them for the plain mean",
        )
    if len(segmenters) < 2:
        raise SettingsError(
            "an average needs two segmenters or more",
            found=f"the output {out} and {len(segmenters)}",
            remedy="the first folder is the output: hilum average OUT SEGMENTER SEGMENTER",
        )
    folders = [path / "segmenter" if (path / "segmenter").is_dir() else path for path in segmenters]
    if store is None:
        run(folders, out)
    else:
        cases = CaseStore(read_stores(store))
        names = choosing_cases(folders, cases, case or [])
        say(f"the mean is chosen by the Dice of {', '.join(names)}")
        run(folders, out, method="greedy", score=dice_on(cases, names))
    used = read_segmenter_config(out).extra["average"]["of"]
    say(f"segmenter: {out}, the mean of {len(used)} of {len(folders)}")
    for name in used:
        say(f"  {name}")


def choosing_cases(folders: Sequence[Path], store: CaseStore, asked: Sequence[str]) -> list[str]:
    """Return the labelled cases that may choose between runs: none trained or tests any of them.

    Args:
        folders: Segmenter folders; next to each its run may have written `split.json`.
        store: Holds the cases.
        asked: Cases to take; the validation cases that all runs share if empty.

    Raises:
        SettingsError: If a case is unknown, unlabelled, or trained or tests a run; or if there
            are none.
    """
    from hilum.core.side_files import read_side

    files = [folder.parent / "split.json" for folder in folders]
    splits = [read_side(file) for file in files if file.is_file()]
    shared = (
        set.intersection(*(set(split.get("validation", ())) for split in splits))
        if splits
        else set()
    )
    names = list(asked) or [name for name in store.ids if name in shared]
    for name in names:
        if not store.row(name)["labelled"]:
            raise SettingsError(
                "a case that chooses must have a label", found=name, remedy="name a labelled case"
            )
        for part in ("train", "test"):
            if any(name in split.get(part, ()) for split in splits):
                raise SettingsError(
                    f"a case that chooses must not {part} any of the runs",
                    found=name,
                    remedy="take validation cases",
                )
    if not names:
        raise SettingsError(
            "greedy averaging needs validation cases that all runs share",
            remedy="train with split.validation and one split.seed, or name cases with --case",
        )
    return names
