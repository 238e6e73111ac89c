"""Choose the operating point at the end of a run, by its labels or without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hilum.core.runs import RunFolder
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.calibration.calibrate import choose_for, lines
from hilum.segmenter.calibration.label_free import expected_for, expected_lines
from hilum.segmenter.calibration.page import write_choice, write_expected
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.segmenter import Segmenter

from .building import modalities_of
from .settings import FinetuneSettings

Say = Callable[[str], None]


def choose_point(
    segmenter: Segmenter,
    settings: FinetuneSettings,
    store: CaseStore,
    split: Split,
    run: RunFolder,
    say: Say,
) -> None:
    """Set the operating point of a trained segmenter, write how it was chosen, and say what it is.

    Args:
        segmenter: Its `config` gets the point.
        settings: Of the run.
        store: Holds the cases.
        split: Its validation patients choose; with `operating_point.by=expected` the rest of the
            pool, without labels.
        run: Gets `operating_point.json` and `.html`.
        say: Gets the result.
    """
    if torch.cuda.is_available():
        segmenter.cuda()
    asked = settings.operating_point
    how = {"inference": settings.inference, "precision": settings.trainer.precision}
    if asked.choose and asked.by == "expected":
        names = expected_cases(settings, store, split)
        if names:
            found, chose = expected_for(segmenter, store, names, asked, **how)
            write_expected(run.path, found, chose)
            _set(segmenter, found.point, expected_lines(found), say)
            return
        why = "no unlabelled patients in the pool"
    else:
        choice = choose_for(segmenter, store, split.validation, asked, **how)
        if choice is not None:
            write_choice(run.path, choice, split.validation)
            _set(segmenter, choice.point, lines(choice), say)
            return
        why = "no validation patients with every class labelled" if asked.choose else "as asked for"
    config = segmenter.config
    words = config.operating_point.words(config.overlapping is not None)
    say(f"operating point: {words} ({why})")


def expected_cases(settings: FinetuneSettings, store: CaseStore, split: Split) -> list[str]:
    """Return the cases that choose an operating point without labels; nothing if none should."""
    asked = settings.operating_point
    if not asked.choose or asked.by != "expected":
        return []
    taught = {store.row(name)["patient"] for name in (*split.train, *split.validation)}
    sees = set(modalities_of(store, settings))
    return [
        name
        for name in split.pool
        if store.row(name)["patient"] not in taught and sees & set(store.row(name)["modalities"])
    ]


def _set(segmenter: Segmenter, point: OperatingPoint, told: Sequence[str], say: Say) -> None:
    segmenter.config = segmenter.config.model_copy(update={"operating_point": point})
    for line in told:
        say(line)
