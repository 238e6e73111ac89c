"""Phantom cohort: paired CT/PET of patients with lymph nodes whose truth is known exactly.

The task, malignant nodes at CT resolution, needs both modalities by construction: benign nodes
look alike on the CT, brown fat, muscle, vessels and ureters look alike on the PET, and the PET is
blurred and displaced by a known vector. Everything is a pure function of the seed and the index of
the case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.core.files import atomic_folder, hash_of, read_json, write_json
from hilum.core.outputs import output
from hilum.core.spread import spread

from ..io.nifti import write_volume
from ..manifest import write_manifest
from .case import PhantomCase
from .first import make_first
from .second.case import draw_anatomy, image
from .settings import SECOND_ONLY, PhantomSettings

__all__ = ["PhantomCase", "PhantomSettings", "make_case", "make_cases", "write_cohort"]

VERSIONS = {1: 2, 2: 1}
"""Of each edition: raised when the same settings give other bytes, so that no cohort mixes both."""
RECIPE = "phantom.json"
Progress = Callable[[int, int, str], None]


def make_case(settings: PhantomSettings, index: int) -> PhantomCase:
    """Make one phantom; a pure function of the settings and the index.

    The number of patients, the test fraction and the paired scanner do not matter to it.
    """
    if settings.edition == 2:
        return image(settings, draw_anatomy(settings, index), settings.scanner)
    return make_first(settings, index)


def make_cases(settings: PhantomSettings, index: int) -> list[PhantomCase]:
    """Make what each scanner of the settings sees of one patient: one case, or a pair."""
    if settings.edition == 1:
        return [make_first(settings, index)]
    anatomy = draw_anatomy(settings, index)
    return [image(settings, anatomy, scanner) for scanner in settings.scanners_of(index)]


def write_cohort(
    out: str | Path, settings: PhantomSettings, workers: int = 1, progress: Progress | None = None
) -> Path:
    """Write the cohort as NIfTI files with a manifest; what is there already is left alone.

    `<out>/cases/<id>/{ct,pet,label,instances}.nii.gz` and `nodes.json`, `<out>/manifest.csv`.

    Args:
        out: Folder; one with other settings is an error.
        settings: What to make.
        workers: Processes; they do not change a byte.
        progress: Gets how many are done, how many there are, and the case.

    Returns:
        Path of the manifest.

    Raises:
        DataError: If the folder cannot be written or belongs to something else.
    """
    recipe = _recipe(settings)
    with output(out, "phantom", earlier=RECIPE) as folder:
        _claim(folder, recipe)
        return _write_cohort(folder, settings, hash_of(recipe), workers, progress)


def _write_cohort(
    out: Path, settings: PhantomSettings, key: str, workers: int, progress: Progress | None
) -> Path:
    make = partial(_write_case, out, settings, key)
    for done, name in enumerate(spread(make, range(settings.patients), workers), 1):
        if progress:
            progress(done, settings.patients, name)
    tests = settings.tests()
    cases = []
    for index in range(settings.patients):
        split = "test" if index in tests else "train"
        for scanner in settings.scanners_of(index):
            name = settings.name(index, scanner)
            folder = out / "cases" / name
            volumes = {key: folder / f"{key}.nii.gz" for key in ("ct", "pet")}
            who, label = settings.patient_name(index), folder / "label.nii.gz"
            cases.append(Case(name, who, volumes, label, f"scanner_{scanner}", split))
    return write_manifest(out / "manifest.csv", cases)


def _recipe(settings: PhantomSettings) -> dict[str, object]:
    """Return what a cohort is made with; that of edition 1 is as it was before edition 2."""
    later = SECOND_ONLY if settings.edition == 1 else ()
    dumped = settings.model_dump(mode="json", exclude=set(later))
    return {"version": VERSIONS[settings.edition], **dumped}


def _claim(out: Path, recipe: dict[str, object]) -> None:
    """Note the settings first, so that a half-made cohort is never continued with others."""
    file = out / RECIPE
    if not file.exists():
        write_json(file, recipe)
    elif read_json(file) != recipe:
        raise DataError(
            "the folder must hold a cohort made with the same settings",
            file=out,
            remedy="choose another folder, or remove this one",
        )


def _write_case(out: Path, settings: PhantomSettings, key: str, index: int) -> str:
    """Write what each scanner sees of a patient, each case whole or not at all, unless there."""
    folders = [out / "cases" / settings.name(index, one) for one in settings.scanners_of(index)]
    if not all(_is_made(folder, key) for folder in folders):
        for folder, case in zip(folders, make_cases(settings, index), strict=True):
            if not _is_made(folder, key):
                _write_one(folder, case, settings, key)
    return folders[0].name


def _write_one(folder: Path, case: PhantomCase, settings: PhantomSettings, key: str) -> None:
    scanner = case.id.split("_")[1]
    with atomic_folder(folder) as part:
        write_volume(part / "ct.nii.gz", case.ct, case.grid, np.int16)
        write_volume(part / "pet.nii.gz", case.pet, case.pet_grid)
        write_volume(part / "label.nii.gz", case.label, case.grid)
        write_volume(part / "instances.nii.gz", case.instances, case.grid)
        about = {
            "case": case.id,
            "made_with": key,
            "scanner": asdict(settings.machine(scanner)),
            "patient": asdict(case.patient),
            "misregistration": asdict(case.misregistration),
            "shift_mm": case.shift_mm,
            "nodes": case.nodes,
            "distractors": case.distractors,
        }
        if case.acquisition is not None:
            about["acquisition"] = asdict(case.acquisition)
        write_json(part / "nodes.json", about)


def _is_made(folder: Path, key: str) -> bool:
    try:
        return read_json(folder / "nodes.json")["made_with"] == key
    except (UserError, KeyError, TypeError):
        return False
