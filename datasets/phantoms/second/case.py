"""A patient of the second edition, drawn once, and what each scanner sees of them.

Anatomy, nodes, tracer, contrast, arms and metal depend on the seed and the index alone; the breath,
the counts, the noise and the calibration on the scanner, too. So two scanners see one patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator

from ..anatomy import DIAPHRAGM_Z, paint_body
from ..canvas import Canvas, Floats
from ..case import PhantomCase
from ..chest import paint_chest
from ..distractors import Distractor, paint_distractors
from ..first import place_body
from ..imaging import draw_misregistration, pet_grid
from ..nodes import draw_nodes_of, draw_short_axes
from ..organs import paint_abdomen, paint_neck, paint_pads
from ..patient import Patient, draw_patient
from ..placing import Nodes, paint_nodes
from ..settings import PhantomSettings
from ..table import Scans, distractor_rows, node_rows
from .acquisition import Acquisition, draw_acquisition, venous_contrast
from .atlas import ATLAS
from .body import fill_arteries, paint_arms, paint_metal
from .scanners import RECONSTRUCTIONS, image_ct, image_pet
from .shapes import draw_lobed

SHORT_AXIS_MM, SIGMA = (4.0, 36.0), 0.5
"""Bounds of drawn short axes, and the standard deviation of their log."""
_NECROTIC = 0.25
"""Fraction of malignant nodes above 12 mm with a dead middle."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A patient as drawn, before any scanner. Final.

    Attributes:
        index: Number in the cohort.
        canvas: True HU and SUV.
        metal: Fraction of metal in each voxel, if any.
        nodes, distractors: What was drawn.
        patient, acquisition: The numbers of both.
    """

    index: int
    canvas: Canvas
    metal: Floats | None
    nodes: Nodes
    distractors: list[Distractor]
    patient: Patient
    acquisition: Acquisition


def draw_anatomy(settings: PhantomSettings, index: int) -> Anatomy:
    """Draw a patient; a pure function of the index and of all settings but the scanners."""

    def draw(topic: str) -> np.random.Generator:
        return numpy_generator(settings.seed, "phantom", "second", index, topic)

    acquisition = draw_acquisition(draw("acquisition"), settings)
    contrast = venous_contrast(draw("contrast"), acquisition.phase)
    person = replace(draw_patient(draw("person")), contrast=contrast)
    canvas = Canvas(*place_body(settings, draw("size")), draw("shape"))
    cavity = paint_body(canvas, person, draw("body"))
    paint_arms(canvas, person, acquisition)
    paint_pads(canvas)
    paint_neck(canvas, person)
    paint_abdomen(canvas, person, cavity, draw("abdomen"))
    paint_chest(canvas, person, cavity, draw("chest"))
    fill_arteries(canvas, person, acquisition)
    nodes = _nodes(settings, index, canvas, contrast, draw("nodes"), draw("places"))
    found = paint_distractors(canvas, settings.distractors, draw("distractors"), ATLAS, draw_lobed)
    metal = paint_metal(canvas, acquisition)
    return Anatomy(index, canvas, metal, nodes, found, person, acquisition)


def image(settings: PhantomSettings, anatomy: Anatomy, name: str) -> PhantomCase:
    """Return what a scanner sees of a patient.

    Numbers of nodes in `instances` and in the table are those of the patient, for every scanner; a
    voxel belongs to what its middle lies in, and a node without a voxel has no row.
    """

    def draw(topic: str) -> np.random.Generator:
        return numpy_generator(settings.seed, "phantom", "second", anatomy.index, name, topic)

    canvas, machine, reconstruction = anatomy.canvas, settings.machine(name), RECONSTRUCTIONS[name]
    here = canvas.grid
    ct = here.with_spacing(settings.ct_spacing_of(name))
    pet = pet_grid(here, machine.pet_spacing)
    diaphragm = DIAPHRAGM_Z * canvas.scale
    move = draw_misregistration(draw("move"), settings.misregistration_mm, diaphragm, canvas.scale)
    seen = image_pet(
        canvas.suv, canvas.hu, here, pet, move, anatomy.acquisition, machine, reconstruction,
        draw("pet"),
    )  # fmt: skip
    instances = _nearest(anatomy.nodes.instances, here, ct)
    scans = Scans(_nearest(canvas.suv, here, ct), ct, seen, pet, move)
    malignant = np.array([False, *(node.malignant for node in anatomy.nodes.drawn)])
    return PhantomCase(
        id=settings.name(anatomy.index, name),
        ct=image_ct(canvas.hu, here, ct, machine, reconstruction, anatomy.metal, draw("ct")),
        pet=seen,
        label=malignant[instances].astype(np.uint8),
        instances=instances,
        grid=ct,
        pet_grid=pet,
        nodes=node_rows(replace(anatomy.nodes, instances=instances), scans),
        distractors=distractor_rows(
            anatomy.distractors, replace(scans, tracer=canvas.suv, ct=here)
        ),
        misregistration=move,
        patient=anatomy.patient,
        acquisition=anatomy.acquisition,
    )


def _nodes(
    settings: PhantomSettings,
    index: int,
    canvas: Canvas,
    contrast: float,
    rng: np.random.Generator,
    places: np.random.Generator,
) -> Nodes:
    count = max(3, int(rng.poisson(settings.nodes)))
    short = draw_short_axes(rng, count, SHORT_AXIS_MM, SIGMA)
    groups = draw_nodes_of(rng, short, settings.is_negative(index), contrast, draw_lobed)
    for group in groups:
        for k, node in enumerate(group):
            dead = rng.random() < _NECROTIC and node.malignant and node.short_mm > 12
            group[k] = replace(node, necrosis=dead)
    return paint_nodes(canvas, groups, places, ATLAS)


def _nearest(values: Floats, here: Grid, there: Grid) -> Floats:
    """Return what lies at the middles of another grid's voxels; axes are parallel."""
    index = [
        np.clip(np.round(here.to_index(there.to_world(step))[:, axis]), 0, here.shape[axis] - 1)
        for axis, step in enumerate(_axes(there))
    ]
    return np.ascontiguousarray(values[np.ix_(*(i.astype(int) for i in index))])


def _axes(grid: Grid) -> list[np.ndarray]:
    """Return the indices `[n, 3]` along each axis."""
    return [np.eye(3)[axis] * np.arange(n)[:, None] for axis, n in enumerate(grid.shape)]
