"""Import Longitudinal-CT, task 2 of autoPET/CT IV: CT of melanoma before and under treatment.

`inputsTr/<id>_{BL,FU}_img_{BL,FU}_img_<NN>.nii.gz` (or `<id>_{BL,FU}_img_<NN>.nii.gz`), masks of
the baseline `<id>_BL_mask_BL_img_<NN>.nii.gz` next to them, those of the follow-up in `targetsTr`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.notes import Note

from ..conversion import Conversion, convert, folder_of
from ..io.nifti import read_label, write_volume
from ..source import Imported, LeftOut, Source, find_root, safe_ids, scans_in, volumes_of

WORDS = {"img": "ct", "mask": "label"}
_NAME = re.compile(r"(.+?)_(bl|fu)_(img|mask)(?:_(?:bl|fu)_img)?_(\d+)")
_EXPECTED = "inputsTr with <id>_BL_img_BL_img_00.nii.gz, and targetsTr"


def import_longitudinal_ct(source: Source) -> Imported:
    """Read each scan as a case `<id>_BL_<NN>` or `<id>_FU_<NN>`; all of a patient share it.

    The masks number the lesions; the label is one class. Tables of the lesions (`<id>.csv` of the
    release) name the type of each number in the original mask.
    """
    root = find_root(source.root, lambda path: bool(_scans(path)), _EXPECTED)
    scans, words = _scans(root), source.words(WORDS)
    found, conversions = Imported(), []
    for name, key in safe_ids(scans).items():
        try:
            volumes, label = volumes_of(scans[name], words, key)
        except DataError as error:
            found.left_out.append(LeftOut(key, str(error)))
            continue
        case = Case(key, name.rsplit("_", 2)[0], volumes)
        if label is None:
            found.cases.append(case)
            continue
        new = Case(key, case.patient, volumes, folder_of(source, key) / "label.nii.gz")
        conversions.append(Conversion(new, (label,), partial(_write, key, label)))
    convert(source, conversions, found)
    return found.raise_if_empty(_EXPECTED, root)


def _scans(root: Path) -> dict[str, dict[str, Path]]:
    """Return the files of each scan by patient, visit and number."""
    found: dict[str, dict[str, Path]] = {}
    for place in ("inputsTr", "targetsTr"):
        for stem, file in (scans_in(root / place) if (root / place).is_dir() else {}).items():
            if match := _NAME.fullmatch(stem):
                patient, visit, kind, number = match.groups()
                found.setdefault(f"{patient}_{visit.upper()}_{number}", {})[kind] = file
    return dict(sorted(found.items()))


def _write(case: str, file: Path, folder: Path) -> list[Note]:
    label = read_label(file, case)
    write_volume(folder / "label.nii.gz", (label.array > 0).astype(np.uint8), label.grid)
    count = len(np.unique(label.array[label.array > 0]))
    return [Note("info", "numbered lesions became one class", f"{count} lesions in {file.name}")]
