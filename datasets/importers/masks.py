"""Judge the values of every mask that an importer found, and say what they mean where asked to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError
from hilum.core.notes import Note

from ..conversion import Conversion, convert, folder_of
from ..io.lattice import place_mask, scan_of
from ..io.mask_values import Values, refuse_sentinels
from ..io.nifti import Volume, read_grid, read_label, write_volume
from ..source import Imported, LeftOut, Source


def judged(found: Imported, source: Source) -> Imported:
    """Return the cases whose masks hold classes; the others are left out with the remedy.

    A mask on another box of its scan's lattice is noted, for `prepare` puts it in place; so is one
    that `prepare` will refuse.

    With `source.values`, every mask is copied to `cases/<case>/` with its values replaced first.
    """
    if source.values:
        found = _replaced(found, source)
    # With values of one's own, those that the layout lists do not count.
    listed = None if source.values else found.classes
    own = source.out / "cases"

    def judge(case: Case) -> tuple[str, list[Note]]:
        # What hilum wrote itself was judged when it was written.
        mine = case.label is not None and own in case.label.parents
        return ("", []) if mine and listed is None else _judged(case, listed)

    with ThreadPoolExecutor(max(1, source.workers)) as pool:
        verdicts = list(zip(found.cases, pool.map(judge, found.cases), strict=True))
    bad = [LeftOut(case.id, why) for case, (why, _) in verdicts if why]
    good = [case for case, (why, _) in verdicts if not why]
    notes = [note for _, (_, notes) in verdicts for note in notes]
    return replace(
        found, cases=good, left_out=[*found.left_out, *bad], notes=[*found.notes, *notes]
    )


def _judged(case: Case, listed: frozenset[int] | None) -> tuple[str, list[Note]]:
    """Return why the mask of a case cannot be used, or nothing, and what is odd about it."""
    if case.label is None:
        return "", []
    try:
        label = read_label(case.label, case.id)
        refuse_sentinels(label.array, case.id, case.label)
        if listed is not None:
            _require_listed(label.array, listed, case)
    except DataError as error:
        return str(error), []
    return "", _notes_on_grid(case, label)


def _notes_on_grid(case: Case, label: Volume) -> list[Note]:
    """Return what `prepare` will do to the mask to bring it to its scan, or why it will not."""
    grids = {name: read_grid(file, case.id) for name, file in case.volumes.items()}
    try:
        name = scan_of(label.grid, grids, case=case.id, file=case.label)
        return place_mask(label, grids[name], case=case.id, file=case.label)[1]
    except DataError as error:
        text = f"{error.found} in {error.file}; {error.remedy}"
        return [Note("warning", error.rule, text, case.id)]


def _require_listed(array: np.ndarray, listed: frozenset[int], case: Case) -> None:
    odd = sorted(set(np.unique(array).tolist()) - listed - {0, IGNORE})
    if odd:
        first = odd[0]
        raise DataError(
            "every value of a mask must stand in labels of dataset.json",
            case=case.id,
            file=case.label,
            found=f"{', '.join(map(str, odd[:10]))}; labels has "
            f"{', '.join(map(str, sorted(listed)))}",
            remedy=f"add it to labels, or say what it means: --value {first}=0 makes it background",
        )


def _replaced(found: Imported, source: Source) -> Imported:
    """Return every case with a copy of its mask whose values mean what the user says."""
    values, place = dict(source.values), replace(source, out=source.out / "masks")
    conversions = [
        Conversion(
            replace(case, label=folder_of(place, case.id) / "label.nii.gz"),
            (case.label,),
            partial(_write, case.id, case.label, values),
            repr(values),
        )
        for case in found.cases
        if case.label is not None
    ]
    fresh = Imported([], list(found.left_out), found.renamed, list(found.notes))
    result = convert(place, conversions, fresh)
    made = {case.id: case for case in result.cases}
    bad = {entry.case for entry in result.left_out}
    cases = [made.get(case.id, case) for case in found.cases if case.id not in bad]
    return replace(result, cases=cases)


def _write(case: str, file: Path, values: Values, folder: Path) -> list[Note]:
    label = read_label(file, case, values)
    refuse_sentinels(label.array, case, file)
    write_volume(folder / "label.nii.gz", label.array, label.grid)
    meant = ", ".join(f"{value:g} became {meaning}" for value, meaning in values.items())
    kept = int(np.count_nonzero(label.array == IGNORE))
    notes = [Note("info", "values of masks replaced", f"values of the mask: {meant}")]
    if kept and values.get(IGNORE, IGNORE) != IGNORE:
        text = f"{kept} voxels of {IGNORE} beside classes stay unknown"
        notes.append(Note("warning", f"{IGNORE} beside classes", text))
    return notes
