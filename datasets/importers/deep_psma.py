"""Import DEEP-PSMA: two studies of each patient, PSMA and FDG, each a PET with a CT of its own.

`<id>/{PSMA,FDG}/{CT,PET,TTB}.nii.gz`; TTB is the total tumour burden of that tracer. The folders
also hold `totseg_24.nii.gz`, `threshold.json` and `rigid.tfm`, which are passed over.
"""

from __future__ import annotations

from pathlib import Path

from hilum.core.case import Case

from ..source import Imported, Source, collect, find_root, folders, scans_in, volumes_of

TRACERS = ("PSMA", "FDG")
_EXPECTED = "<id>/PSMA/PET.nii.gz and <id>/FDG/PET.nii.gz"


def import_deep_psma(source: Source) -> Imported:
    """Read each study as a case `<id>_psma` or `<id>_fdg`; both share the patient.

    The studies are two visits on two grids with a label each, so they are two cases, with the
    modalities `ct` and `pet_psma`, or `ct` and `pet_fdg`. `--name pet_psma=pet --name pet_fdg=pet`
    drops the difference.
    """
    root = find_root(source.root, lambda path: bool(_studies(path)), _EXPECTED)
    words = source.words({"ct": "ct", "pet_psma": "pet_psma", "pet_fdg": "pet_fdg", "ttb": "label"})

    def make(case: str, item: tuple[str, Path]) -> Case:
        patient, folder = item
        files = scans_in(folder)
        if "pet" in files:
            files[f"pet_{folder.name.lower()}"] = files.pop("pet")
        volumes, label = volumes_of(files, words, case)
        return Case(case, patient, volumes, label)

    return collect(_studies(root), make).raise_if_empty(_EXPECTED, root)


def _studies(root: Path) -> dict[str, tuple[str, Path]]:
    return {
        f"{patient.name}_{study.name.lower()}": (patient.name, study)
        for patient in folders(root)
        for study in folders(patient)
        if study.name.upper() in TRACERS
    }
