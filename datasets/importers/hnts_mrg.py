"""Import HNTS-MRG 2024: T2-weighted MR of the neck before and during radiotherapy.

`HNTSMRG24_train/<id>/preRT/<id>_preRT_{T2,mask}.nii.gz`, `<id>/midRT/<id>_midRT_{T2,mask}.nii.gz`;
`midRT` also holds the first scan and mask, registered: `<id>_preRT_{T2,mask}_registered.nii.gz`.
Masks: 1 GTVp, 2 GTVn.
"""

from __future__ import annotations

from pathlib import Path

from hilum.core.case import Case

from ..source import Imported, Source, collect, find_root, folders, scans_in, volumes_of

VISITS = ("preRT", "midRT")
WORDS = {"t2": "mr_t2", "mask": "label"}
_EXPECTED = "<id>/preRT/<id>_preRT_T2.nii.gz and <id>/midRT/<id>_midRT_T2.nii.gz"


def import_hnts_mrg(source: Source) -> Imported:
    """Read each visit as a case `<id>_preRT` or `<id>_midRT`; both share the patient.

    `--name preRT_T2_registered=mr_t2_pre` gives the second visit the first one's scan, too.
    """
    root = find_root(source.root, lambda path: bool(_visits(path)), _EXPECTED)
    words = source.words(WORDS)

    def make(case: str, item: tuple[str, Path]) -> Case:
        patient, folder = item
        files = {
            stem.removeprefix(f"{patient}_".lower()).removeprefix(f"{folder.name}_".lower()): file
            for stem, file in scans_in(folder).items()
            if stem.startswith(f"{patient}_".lower())
        }
        volumes, label = volumes_of(files, words, case)
        return Case(case, patient, volumes, label)

    return collect(_visits(root), make).raise_if_empty(_EXPECTED, root)


def _visits(root: Path) -> dict[str, tuple[str, Path]]:
    return {
        f"{patient.name}_{visit.name}": (patient.name, visit)
        for patient in folders(root)
        for visit in folders(patient)
        if visit.name in VISITS
    }
