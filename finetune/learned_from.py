"""Whom a segmenter will have learned from: its own patients, and those of what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.core.seen import Seen, read_seen, tested_by, together
from hilum.datasets.leakage import check_unseen, check_unspent, seen_cases, seen_in
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.segmenter import Segmenter

from .operating import expected_cases
from .settings import FinetuneSettings
from .transfer.sources import folders_of


def learned_from(
    settings: FinetuneSettings, store: CaseStore, split: Split
) -> tuple[Seen, list[str]]:
    """Return whom the segmenter will have learned from, and what the user should know of that.

    Validation patients count, as the best weights are chosen by them; so does the whole pool if
    cases without a label train, or choose the operating point.

    Raises:
        DataError: If `init_from`, or the segmenter that labels, has learned from a test patient, or
            a patient that tested `init_from` would be learned from.
    """
    own = {*split.train, *split.validation, *expected_cases(settings, store, split)}
    unlabelled = settings.teacher.weight or settings.synthetic.replay
    if unlabelled or settings.pseudo.segmenter is not None:
        own |= set(split.pool)
    start = [] if settings.init_from is None else [*folders_of(settings.init_from)]
    other, sources = settings.transfer.other_cohort, _sources(settings)
    for folder in start if not settings.transfer.spend_test else ():
        check_unspent(folder, store, sorted(own), other_cohort=other)
    notes = [
        note
        for source in sources
        for note in check_unseen(source, store, split.test, other_cohort=other)
    ]
    return together(seen_in(store, own), *map(read_seen, sources)), notes


def _sources(settings: FinetuneSettings) -> list[Path]:
    """Return the folders of weights that a run learns from."""
    start = [] if settings.init_from is None else [*folders_of(settings.init_from)]
    labellers = (settings.pseudo.segmenter, settings.pseudo.keep)
    return [*start, *(one for one in labellers if one is not None)]


def chosen_by(summary: Mapping[str, Any]) -> str:
    """Return in words how the weights of a run were chosen, and by how many patients."""
    if summary.get("best") is None:
        return "nothing: the last or averaged weights"
    patients = int(summary.get("val/patients", 0))
    return (
        f"val/dice of {patients} validation patient{'' if patients == 1 else 's'}: "
        f"{summary['best']:.4f} at step {summary['best_step']}, the best of "
        f"{summary['validations']} validations"
    )


def note(
    segmenter: Segmenter,
    settings: FinetuneSettings,
    summary: Mapping[str, Any],
    store: CaseStore,
    split: Split,
    seen: Seen,
) -> None:
    """Note in the segmenter's configuration how it was trained, on whom, and who tests it."""
    best = summary.get("best")
    extra = {
        **segmenter.config.extra,
        "labelled_patients": len({store.rows[name]["patient"] for name in split.train}),
        "steps": summary["steps"],
        "validation_dice": "not validated" if best is None else round(float(best), 4),
        "chosen_by": chosen_by(summary),
    }
    if split.left_out:
        extra["left_out_cases"] = len(split.left_out)  # not their names: this is handed on
    before = [] if settings.init_from is None else folders_of(settings.init_from)
    tests = [tested_by(folder) for folder in before]
    tested = together(seen_in(store, split.test), *(one for one in tests if one is not None))
    left = {
        "patients": tuple(p for p in tested.patients if p not in seen.patients),
        "scans": tuple(s for s in tested.scans if s not in seen.scans),
    }
    earlier = together(*map(read_seen, _sources(settings)))
    new = set(split.validation) - set(seen_cases(earlier, store, split.validation))
    changes = {"extra": extra, "seen": seen, "tested": tested.model_copy(update=left)}
    changes["chose"] = seen_in(store, sorted(new))
    segmenter.config = segmenter.config.model_copy(update=changes)
