"""No patient that tests may have been learned from: asked of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hilum.core.errors import DataError
from hilum.core.seen import Seen, patient_hash, read_seen, tested_by

from .store.case_store import CaseStore
from .store.index import scan_hashes


def seen_in(store: CaseStore, cases: Iterable[str]) -> Seen:
    """Return what is seen by whoever learns from these cases, or chooses weights by them."""
    names = list(cases)
    scans = [scan for name in names for scan in scan_hashes(store, name)]
    return Seen.of((store.row(name)["patient"] for name in names), scans)


def seen_cases(seen: Seen, store: CaseStore, cases: Iterable[str]) -> dict[str, str]:
    """Return the cases that weights have learned from, with how one knows.

    A patient is found by name, whatever the store, and by each scan's file and voxels, whatever the
    name, the path or the spacing of the store.
    """
    patients, scans = set(seen.patients), set(seen.scans)
    found = {}
    for name in cases:
        patient = store.row(name)["patient"]
        if scans & set(scan_hashes(store, name)):
            found[name] = f"{patient}, by the scan"
        elif patient_hash(patient) in patients:
            found[name] = f"{patient}, by name"
    return found


def refuse_seen(seen: Seen, source: str | Path, store: CaseStore, test: Sequence[str]) -> None:
    """Raise an error if a patient that tests has been seen.

    Args:
        seen: Whom weights have learned from, or will have.
        source: What to call these weights: their folder, or the run that will make them.
        store: Where the test cases are.
        test: The cases that test, or will.

    Raises:
        DataError: With the first few patients.
    """
    found = seen_cases(seen, store, test)
    if found:
        raise DataError(
            "no test patient may have been learned from",
            file=source,
            found="; ".join(sorted(set(found.values()))[:3]),
            remedy="give both commands the same split.test and split.seed",
        )


def check_unseen(
    folder: str | Path, store: CaseStore, test: Sequence[str], *, other_cohort: bool = False
) -> list[str]:
    """Raise an error if the weights of a folder have learned from a patient that tests.

    Args:
        folder: Folder of an encoder, a network or a segmenter, wherever it lies now.
        store: Where the test cases are.
        test: The cases that test, or will.
        other_cohort: Whether patients of the same name are other people; scans count all the same.

    Returns:
        What the user should know: that it cannot be told, if the folder does not say all.

    Raises:
        DataError: If one has been seen.
    """
    seen = read_seen(folder)
    if seen is not None:
        if other_cohort:
            seen = seen.model_copy(update={"patients": ()})
        refuse_seen(seen, folder, store, test)
    if seen is None or not seen.complete:
        return [
            f"which patients the weights of {folder} have learned from is not fully known: "
            "nothing shows that no test patient is among them"
        ]
    return []


def check_unspent(
    folder: str | Path, store: CaseStore, cases: Sequence[str], *, other_cohort: bool = False
) -> None:
    """Raise an error if a patient that tested a segmenter would be learned from after it.

    Args:
        folder: That training goes on from.
        store: Where the cases are.
        cases: That would be learned from.
        other_cohort: Whether patients of the same name are other people; scans count all the same.

    Raises:
        DataError: If one has tested; then old and new results could not be compared.
    """
    tested = tested_by(folder)
    if tested is not None and other_cohort:
        tested = tested.model_copy(update={"patients": ()})
    found = {} if tested is None else seen_cases(tested, store, cases)
    if found:
        raise DataError(
            "no patient that tested the segmenter that a run goes on from may train it",
            file=folder,
            found="; ".join(sorted(set(found.values()))[:3]),
            remedy="give both runs the same split.test and split.seed, or set "
            "transfer.spend_test=true: these patients then test nothing any more",
        )
