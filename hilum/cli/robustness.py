"""The command `robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, progress, say
from .data import Config
from .study import KeyValues


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
    from hilum.segmenter.assessment.robustness_settings import RobustnessSettings

    asked = load(RobustnessSettings, config or [], settings or [])
    from hilum.datasets.store.case_store import CaseStore
    from hilum.segmenter.assessment.robustness import cases_to_measure
    from hilum.segmenter.assessment.robustness import robustness as run
    from hilum.segmenter.assessment.robustness_report import lines
    from hilum.segmenter.segmenter import Segmenter

    cases = CaseStore(store)
    ids = cases_to_measure(segmenter, cases, asked)
    with progress("robustness") as show:
        table = run(Segmenter.from_pretrained(segmenter), cases, ids, out, asked, progress=show)
    for line in lines(table):
        say(line)
    say(f"wrote {out / 'robustness.html'}")
