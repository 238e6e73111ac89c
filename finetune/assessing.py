"""Test what a run ends with on its test patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hilum.core.errors import DataError
from hilum.core.runs import RunFolder
from hilum.core.settings import validate
from hilum.core.undefined import number
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.prepared_cases import Results, assess, dice_of
from hilum.segmenter.assessment.robustness import robustness
from hilum.segmenter.assessment.robustness_settings import RobustnessSettings
from hilum.segmenter.segmenter import Segmenter

from .settings import FinetuneSettings

Say = Callable[[str], None]


def assess_run(
    segmenter: Segmenter,
    settings: FinetuneSettings,
    store: CaseStore,
    split: Split,
    conditions: Sequence[str],
    run: RunFolder,
    say: Say,
    *,
    steps: int,
) -> Results:
    """Measure the segmenter at its operating point, and write `test/` and `robustness/`.

    Args:
        segmenter: As it was saved.
        settings: Of the run.
        store: Holds the cases.
        split: Its test patients are measured.
        conditions: Subsets of modalities to test with.
        run: The run folder; it is told of every case.
        say: Gets the Dice of each condition.
        steps: Training steps of the run, for the heartbeat.

    Raises:
        DataError: If no test case has a modality of the segmenter.
    """
    if torch.cuda.is_available():
        segmenter.cuda()
    results = assess(
        segmenter,
        store,
        split.test,
        conditions,
        run.path / "test",
        settings.inference,
        precision=settings.trainer.precision,
        progress=lambda done, total, name: run.heartbeat(steps, steps, tested=done),
    )
    if not any(results.values()):
        raise DataError(
            f"a test case must have one of {', '.join(segmenter.modalities)}",
            file=store.path,
            remedy="test on cases that have one, or train on what they have",
        )
    for condition in filter(results.get, conditions):
        say(f"test Dice with {condition}: {number(dice_of(results, condition), '.4f')}")
    if settings.robustness is not None:
        untracked = {"tracking": {"mode": "disabled"}}  # the run has a W&B run already
        rows = validate(RobustnessSettings, settings.robustness | untracked)
        robustness(segmenter, store, split.test, run.path / "robustness", rows)
    return results
