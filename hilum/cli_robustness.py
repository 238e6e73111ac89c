"""The command `robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli_data import Config
from hilum.cli_study import KeyValues
from hilum.console import clean_stop, progress, say


@clean_stop
def robustness(
    segmenter: Annotated[Path, typer.Argument(help="Segmenter folder.")],
    store: Annotated[Path, typer.Argument(help="Case store with labelled cases.")],
    out: Annotated[Path, typer.Option(help="Folder for the matrix.")],
    settings: KeyValues = None,
    config: Config = None,
) -> None:
    """Measure what a segmenter loses with a modality missing, shifted, mis-scaled or blurred."""
    from hilum.core.settings import load
    from hilum.finetune.robustness import RobustnessSettings

    asked = load(RobustnessSettings, config or [], settings or [])
    from hilum.datasets.store import CaseStore
    from hilum.finetune.robustness import cases_to_measure
    from hilum.finetune.robustness import robustness as run
    from hilum.finetune.robustness_report import lines
    from hilum.finetune.segmenter import Segmenter

    cases = CaseStore(store)
    ids = cases_to_measure(segmenter, cases, asked)
    with progress("robustness") as show:
        table = run(Segmenter.from_pretrained(segmenter), cases, ids, out, asked, progress=show)
    for line in lines(table):
        say(line)
    say(f"wrote {out / 'robustness.html'}")
