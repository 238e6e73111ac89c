"""Measure a matrix and show it: for `robustness`, and for `evaluate --robustness`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .console import progress, say

if TYPE_CHECKING:
    from hilum.datasets.store.places import Place


def show_matrix(
    segmenter: Path,
    store: Place,
    out: Path,
    settings: Sequence[str] | None,
    config: Sequence[Path] | None,
) -> None:
    """Measure the matrix of a segmenter folder on a case store, show it, and write it."""
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
