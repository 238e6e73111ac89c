"""Phantom cohort: paired CT/PET of patients with lymph nodes whose truth is known exactly.

The task, malignant nodes at CT resolution, needs both modalities by construction: benign nodes
look alike on the CT, brown fat, muscle, vessels and ureters look alike on the PET, and the PET is
blurred and displaced by a known vector. Everything is a pure function of the seed and the index of
the case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.core.files import atomic_folder, hash_of, read_json, write_json
from hilum.core.geometry import Grid, Triple
from hilum.core.seeds import numpy_generator

from ..io.nifti import write_volume
from ..manifest import write_manifest
from .anatomy import DIAPHRAGM_Z, paint_body
from .canvas import Canvas, Floats
from .chest import paint_chest
from .distractors import paint_distractors
from .imaging import (
    SCANNERS,
    Misregistration,
    Scanner,
    draw_misregistration,
    image_ct,
    image_pet,
    pet_grid,
)
from .nodes import draw_nodes
from .organs import paint_abdomen, paint_neck, paint_pads
from .patient import Patient, draw_patient
from .placing import paint_nodes
from .settings import PhantomSettings
from .table import Scans, distractor_rows, node_rows

__all__ = ["PhantomCase", "PhantomSettings", "make_case", "write_cohort"]

VERSION = 2
"""Raised when the same settings give other bytes, so that no cohort mixes both."""
Progress = Callable[[int, int, str], None]
Rows = list[dict[str, object]]


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One phantom with its truth.

    Attributes:
        id: Name in the cohort.
        ct: HU, float32 `[D, H, W]` on `grid`, whole numbers.
        pet: SUV, float32 on `pet_grid`.
        label: uint8 on `grid`: 1 malignant node, 0 all else.
        instances: int16 on `grid`: number of each node, benign ones too.
        grid, pet_grid: Grids of CT and PET.
        nodes, distractors: Tables, see `phantom_table`.
        misregistration: Where the PET shows what lies elsewhere on the CT, exactly.
        patient: The person's numbers.
    """

    id: str
    ct: Floats
    pet: Floats
    label: NDArray[np.uint8]
    instances: NDArray[np.int16]
    grid: Grid
    pet_grid: Grid
    nodes: Rows
    distractors: Rows
    misregistration: Misregistration
    patient: Patient

    @property
    def shift_mm(self) -> Triple:
        """Rigid part of the misregistration, RAS mm; `misregistration.at` adds the breathing."""
        return self.misregistration.shift_mm


def make_case(settings: PhantomSettings, index: int) -> PhantomCase:
    """Make one phantom; a pure function of the settings and the index.

    The number of patients and the test fraction do not matter to it.
    """

    def draw(topic: str) -> np.random.Generator:
        return numpy_generator(settings.seed, "phantom", settings.scanner, index, topic)

    scanner = _scanner(settings)
    person = draw_patient(draw("person"))
    canvas = Canvas(*_place(settings, draw("size")), draw("shape"))
    cavity = paint_body(canvas, person, draw("body"))
    paint_pads(canvas)
    paint_neck(canvas, person)
    paint_abdomen(canvas, person, cavity, draw("abdomen"))
    paint_chest(canvas, person, cavity, draw("chest"))
    groups = draw_nodes(
        draw("nodes"), settings.nodes, _is_negative(settings, index), person.contrast
    )
    nodes = paint_nodes(canvas, groups, draw("places"))
    found = paint_distractors(canvas, settings.distractors, draw("distractors"))
    move = draw_misregistration(
        draw("move"), settings.misregistration_mm, DIAPHRAGM_Z * canvas.scale, canvas.scale
    )
    grid, other = canvas.grid, pet_grid(canvas.grid, scanner.pet_spacing)
    pet = image_pet(canvas.suv, grid, other, move, scanner, draw("pet"))
    scans = Scans(canvas.suv, grid, pet, other, move)
    malignant = np.array([False, *(node.malignant for node in nodes.drawn)])
    return PhantomCase(
        id=_name(settings, index),
        ct=image_ct(canvas.hu, grid, scanner, draw("ct")),
        pet=pet,
        label=malignant[nodes.instances].astype(np.uint8),
        instances=nodes.instances,
        grid=grid,
        pet_grid=other,
        nodes=node_rows(nodes, scans),
        distractors=distractor_rows(found, scans),
        misregistration=move,
        patient=person,
    )


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
    out = Path(out)
    recipe = {"version": VERSION, **settings.model_dump(mode="json")}
    _claim(out, recipe)
    for done, name in enumerate(_write_all(out, settings, hash_of(recipe), workers), 1):
        if progress:
            progress(done, settings.patients, name)
    order = numpy_generator(settings.seed, "phantom", "split").permutation(settings.patients)
    tests = set(order[: round(settings.test_fraction * settings.patients)].tolist())
    cases = []
    for index in range(settings.patients):
        name = _name(settings, index)
        folder = out / "cases" / name
        volumes = {key: folder / f"{key}.nii.gz" for key in ("ct", "pet")}
        split = "test" if index in tests else "train"
        site = f"scanner_{settings.scanner}"
        cases.append(Case(name, name, volumes, folder / "label.nii.gz", site, split))
    return write_manifest(out / "manifest.csv", cases)


def _name(settings: PhantomSettings, index: int) -> str:
    return f"phantom_{settings.scanner}_{index:04d}"


def _is_negative(settings: PhantomSettings, index: int) -> bool:
    """Say whether a patient has no malignant node: evenly spread over the indices."""
    phase = numpy_generator(settings.seed, "phantom", settings.scanner, "negative").random()
    share = settings.negative_share
    return math.floor((index + 1) * share + phase) > math.floor(index * share + phase)


def _scanner(settings: PhantomSettings) -> Scanner:
    scanner = SCANNERS[settings.scanner]
    return replace(
        scanner,
        pet_spacing=settings.pet_spacing or scanner.pet_spacing,
        fwhm_mm=settings.fwhm_mm or scanner.fwhm_mm,
    )


def _place(settings: PhantomSettings, rng: np.random.Generator) -> tuple[Grid, float]:
    """Return the CT grid and the scale of a patient who lies slightly off its middle."""
    shape, spacing = settings.ct_box()
    scale = settings.fit() * float(rng.uniform(0.92, 1.0))
    middle = scale * np.array([0.0, 8.0, np.mean(settings.heights())]) + rng.normal(0, 2, 3)
    half = (np.subtract(shape, 1) * spacing / 2)[::-1]
    x, y, z = map(float, middle - half)
    return Grid.from_spacing(shape, spacing, (x, y, z)), scale


def _claim(out: Path, recipe: dict[str, object]) -> None:
    """Note the settings first, so that a half-made cohort is never continued with others."""
    file = out / "phantom.json"
    try:
        if file.exists():
            if read_json(file) != recipe:
                raise DataError(
                    "the folder must hold a cohort made with the same settings",
                    file=out,
                    remedy="choose another folder, or remove this one",
                )
            return
        if out.exists() and any(out.iterdir()):
            raise DataError(
                "a new cohort needs an empty folder", file=out, remedy="choose another one"
            )
        write_json(file, recipe)
    except OSError as error:
        raise DataError(
            "the folder must be writable",
            file=out,
            found=error.strerror,
            remedy="choose another output folder",
        ) from error


def _write_all(out: Path, settings: PhantomSettings, key: str, workers: int) -> Iterator[str]:
    indices = range(settings.patients)
    if workers <= 1 or settings.patients == 1:
        for index in indices:
            yield _write_case(out, settings, key, index)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        jobs = [pool.submit(_write_case, out, settings, key, index) for index in indices]
        for job in as_completed(jobs):
            yield job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _write_case(out: Path, settings: PhantomSettings, key: str, index: int) -> str:
    """Write a case, whole or not at all, unless it is there."""
    folder = out / "cases" / _name(settings, index)
    if _is_made(folder, key):
        return folder.name
    case = make_case(settings, index)
    with atomic_folder(folder) as part:
        write_volume(part / "ct.nii.gz", case.ct, case.grid, np.int16)
        write_volume(part / "pet.nii.gz", case.pet, case.pet_grid)
        write_volume(part / "label.nii.gz", case.label, case.grid)
        write_volume(part / "instances.nii.gz", case.instances, case.grid)
        about = {
            "case": case.id,
            "made_with": key,
            "scanner": asdict(_scanner(settings)),
            "patient": asdict(case.patient),
            "misregistration": asdict(case.misregistration),
            "shift_mm": case.shift_mm,
            "nodes": case.nodes,
            "distractors": case.distractors,
        }
        write_json(part / "nodes.json", about)
    return folder.name


def _is_made(folder: Path, key: str) -> bool:
    try:
        return read_json(folder / "nodes.json")["made_with"] == key
    except (UserError, KeyError, TypeError):
        return False
