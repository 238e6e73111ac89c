"""The first edition of the phantoms: drawn on the grid of the scanner, one patient each."""

from __future__ import annotations

import numpy as np

from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator

from .anatomy import DIAPHRAGM_Z, paint_body
from .canvas import Canvas
from .case import PhantomCase
from .chest import paint_chest
from .distractors import paint_distractors
from .imaging import draw_misregistration, image_ct, image_pet, pet_grid
from .nodes import draw_nodes
from .organs import paint_abdomen, paint_neck, paint_pads
from .patient import draw_patient
from .placing import paint_nodes
from .settings import PhantomSettings
from .table import Scans, distractor_rows, node_rows


def make_first(settings: PhantomSettings, index: int) -> PhantomCase:
    """Make one phantom of the first edition; a pure function of the settings and the index.

    The number of patients and the test fraction do not matter to it.
    """

    def draw(topic: str) -> np.random.Generator:
        return numpy_generator(settings.seed, "phantom", settings.scanner, index, topic)

    scanner = settings.machine(settings.scanner)
    person = draw_patient(draw("person"))
    canvas = Canvas(*place_body(settings, draw("size")), draw("shape"))
    cavity = paint_body(canvas, person, draw("body"))
    paint_pads(canvas)
    paint_neck(canvas, person)
    paint_abdomen(canvas, person, cavity, draw("abdomen"))
    paint_chest(canvas, person, cavity, draw("chest"))
    groups = draw_nodes(draw("nodes"), settings.nodes, settings.is_negative(index), person.contrast)
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
        id=settings.name(index),
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


def place_body(settings: PhantomSettings, rng: np.random.Generator) -> tuple[Grid, float]:
    """Return the grid and the scale of a patient who lies slightly off its middle."""
    shape, spacing = settings.anatomy_box()
    scale = settings.fit() * float(rng.uniform(0.92, 1.0))
    middle = scale * np.array([0.0, 8.0, np.mean(settings.heights())]) + rng.normal(0, 2, 3)
    half = (np.subtract(shape, 1) * spacing / 2)[::-1]
    x, y, z = map(float, middle - half)
    return Grid.from_spacing(shape, spacing, (x, y, z)), scale
