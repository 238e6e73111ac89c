"""Which cases are evaluated, and where their masks lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.datasets.io.masks import masks_in, some
from hilum.datasets.io.nifti import ENDINGS
from hilum.datasets.manifest import read_manifest


def labelled_cases(manifest: Path, names: Sequence[str] | None = None) -> list[Case]:
    """Return the cases that have a reference.

    Args:
        manifest: Cohort, or a folder of reference masks: each is then a case and a patient.
        names: Only these.

    Raises:
        DataError: If there is none, or one of the names is unknown.
    """
    cases = _in_folder(manifest) if manifest.is_dir() else read_manifest(manifest)
    unknown = set(names or ()) - {case.id for case in cases}
    if unknown:
        raise DataError(
            "the manifest must hold the case",
            case=", ".join(sorted(unknown)),
            file=manifest,
            remedy="add it, or remove its mask",
        )
    chosen = [c for c in cases if c.labelled and (names is None or c.id in names)]
    if not chosen:
        raise DataError(
            "the manifest must have a case with a label",
            file=manifest,
            remedy="fill the column label with the reference masks",
        )
    return chosen


def predictions_of(
    folder: Path, cases: Sequence[Case], *, all_cases: bool = True
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the prediction of each case, and the names of predictions without a reference.

    Args:
        folder: Of masks, `<case>.nii.gz` or another ending of `io.masks.MASK_ENDINGS`.
        cases: With a label.
        all_cases: Whether these are all that have a label: if not, nothing is without one.

    Raises:
        DataError: If cases have no prediction, or two; all are named.
    """
    found = masks_in(folder)
    missing = [case.id for case in cases if case.id not in found]
    if missing:
        first = folder / f"{missing[0]}{ENDINGS[0]}"
        raise DataError(
            "every labelled case must have a prediction",
            case=some(missing),
            file=first if len(missing) == 1 else folder,
            found="no such file" if len(missing) == 1 else f"none of {len(missing)} cases",
            remedy="predict it, or leave the case out of the manifest",
        )
    wanted = {case.id for case in cases}
    extra = [name for name in found if name not in wanted] if all_cases else []
    return {name: found[name] for name in wanted}, tuple(extra)


def _in_folder(folder: Path) -> list[Case]:
    """Return a case for each mask of a plain folder."""
    found = masks_in(folder, what="reference")
    if not found:
        raise DataError(
            "the folder of references must hold masks",
            file=folder,
            remedy=f"name them <case>{ENDINGS[0]}",
        )
    return [Case(name, name, label=file) for name, file in found.items()]
