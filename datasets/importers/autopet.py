"""Import autoPET: whole-body PET/CT with one class of lesion; PET in SUV, CT resampled to the PET.

I: `FDG-PET-CT-Lesions/<PETCT_id>/<study>/{SUV,CTres,CT,SEG,PET}.nii.gz`.
III, IV (task 1) and V: `imagesTr/{fdg,psma}_<patient>_<study>_{0000,0001}.nii.gz`, 0000 CT and 0001
SUV, `labelsTr`. Names of FDG studies hold spaces.
"""

from __future__ import annotations

from pathlib import Path

from hilum.core.case import Case

from ..source import Imported, Source, collect, find_root, folders, scans_in, volumes_of
from .nnunet_raw import RawCase, raw_cases

WORDS_1 = {"ctres": "ct", "suv": "pet", "seg": "label"}
WORDS_3 = {"ct": "ct", "fdg": "pet", "psma": "pet", "label": "label"}
SITES = {"fdg": "UKT", "psma": "LMU"}
"""Tübingen scanned the FDG part, Munich the PSMA part."""

_EXPECTED = (
    "<PETCT_id>/<study>/SUV.nii.gz (autoPET I) or imagesTr with fdg_..., psma_... (autoPET III)"
)


def import_autopet(source: Source) -> Imported:
    """Read either challenge; studies of one patient share the patient.

    The CT is `CTres`, on the PET's and the label's grid; `--name ctres= --name ct=ct` takes the
    original. In III, `--name psma=pet_psma` keeps the tracers apart.
    """
    root = find_root(source.root, lambda path: _is_3(path) or _is_1(path), _EXPECTED)
    found = _of_3(root, source) if _is_3(root) else _of_1(root, source)
    return found.raise_if_empty(_EXPECTED, root)


def _is_3(path: Path) -> bool:
    images = path / "imagesTr"
    return images.is_dir() and any(f.name.startswith(("fdg_", "psma_")) for f in images.iterdir())


def _is_1(path: Path) -> bool:
    return any(
        (study / f"{name}{end}").exists()
        for patient in folders(path)
        for study in folders(patient)
        for name in ("SUV", "CTres", "CT")
        for end in (".nii.gz", ".nii")
    )


def _of_1(root: Path, source: Source) -> Imported:
    words = source.words(WORDS_1)
    items = {
        f"{patient.name}_{study.name}": (patient.name, study)
        for patient in folders(root)
        for study in folders(patient)
    }

    def make(case: str, item: tuple[str, Path]) -> Case:
        patient, study = item
        volumes, label = volumes_of(scans_in(study), words, case)
        return Case(case, patient, volumes, label, SITES["fdg"])

    return collect(items, make)


def _of_3(root: Path, source: Source) -> Imported:
    words = source.words(WORDS_3)

    def make(case: str, item: tuple[str, RawCase]) -> Case:
        name, raw = item
        tracer, _, rest = name.partition("_")
        files = {"ct": raw.channels.get(0), tracer: raw.channels.get(1), "label": raw.label}
        volumes, label = volumes_of({k: v for k, v in files.items() if v}, words, case)
        patient = f"{tracer}_{rest.split('_')[0]}"
        return Case(case, patient, volumes, label, SITES.get(tracer, ""), raw.split)

    return collect({name: (name, raw) for name, raw in raw_cases(root).items()}, make)
