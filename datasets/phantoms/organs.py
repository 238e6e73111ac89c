"""Neck, abdomen and pelvis of a phantom, and the pads of fat that nodes lie in."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Floats, Knots, Region, Tissue, smooth_field, turn_about_z
from .chest import diaphragm
from .patient import Patient

_GAS = -930.0
_PADS = (
    ((66, 14, 662), (28, 24, 17)),
    ((116, 6, 604), (22, 27, 44)),
    ((52, -18, 708), (12, 20, 30)),
    ((40, 30, 748), (18, 18, 16)),
    ((82, 56, 24), (24, 18, 36)),
    ((70, 32, 80), (18, 16, 30)),
)
"""Middle and radii of the fat above the collar bone, in the armpit, neck and groin (both sides)."""

URETER: Knots = (
    (44, -36, 280, 4.2),
    (40, -26, 220, 4.2),
    (50, -6, 150, 4.2),
    (46, -12, 90, 4.2),
    (20, 4, 52, 4.2),
)
ILIAC_ARTERY: Knots = ((0, -12, 218, 7), (32, -2, 160, 6), (64, 24, 80, 5.5), (74, 50, 10, 5))
_ILIAC: tuple[Knots, ...] = (
    ILIAC_ARTERY,
    ((10, -14, 214, 7), (34, -10, 160, 7), (58, 20, 80, 6), (66, 46, 10, 6)),
)
_COLON: Knots = ((108, -8, 130, 19), (110, -10, 210, 17), (106, 10, 290, 17))
_ACROSS: Knots = ((104, 14, 295, 16), (50, 56, 275, 15), (-40, 58, 280, 15), (-104, 14, 310, 15))
_PANCREAS: Knots = ((38, 14, 318, 13), (10, 22, 335, 11), (-50, -4, 362, 9), (-84, -24, 375, 7))
_BOWEL = 55
"""Loops of small bowel."""


def paint_pads(canvas: Canvas) -> None:
    """Paint fat between muscles where nodes lie; call it before the vessels."""
    for side in (1, -1):
        for centre, radii in _PADS:
            region = canvas.ellipsoid((side * centre[0], *centre[1:]), radii)
            canvas.paint(region, -98, 0.28, Tissue.FAT, (Tissue.MUSCLE,))


def paint_neck(canvas: Canvas, person: Patient) -> None:
    """Paint throat, tongue, thyroid and salivary glands, if in view."""
    if canvas.slices[-1, 0, 0] < 640:
        return
    soft, glow = 58 + person.contrast * 0.15, person.muscle
    canvas.paint(canvas.ellipsoid((0, 36, 772), (30, 34, 24)), soft, glow * 1.6, Tissue.MUSCLE)
    canvas.paint(canvas.ellipsoid((0, 22, 724), (19, 18, 24)), soft + 15, 1.4, Tissue.ORGAN)
    canvas.paint(canvas.ellipsoid((0, 24, 724), (8, 10, 30)), _GAS, 0.2, Tissue.AIRWAY)
    canvas.paint(canvas.ellipsoid((0, 2, 772), (11, 8, 36)), _GAS, 0.2, Tissue.AIRWAY)
    for side in (1, -1):
        for centre, radii, hu, suv in (
            ((19, 20, 682), (9, 10, 22), 95 + person.contrast * 0.4, 1.6),
            ((30, 46, 756), (11, 14, 11), 40 + person.contrast * 0.3, 1.9),
            ((54, -12, 782), (13, 18, 20), 5 + person.contrast * 0.2, 1.7),
            ((17, 14, 772), (7, 9, 11), 50 + person.contrast * 0.3, 3.2),
        ):
            region = canvas.ellipsoid((side * centre[0], *centre[1:]), radii)
            canvas.paint(region, hu, suv, Tissue.ORGAN)


def paint_abdomen(
    canvas: Canvas, person: Patient, cavity: Floats, rng: np.random.Generator
) -> None:
    """Paint liver, spleen, stomach, kidneys, bowel and bladder, as far as in view."""
    if canvas.slices[0, 0, 0] > 460:
        return
    _bowel(canvas, person, rng)
    _upper(canvas, person, cavity, rng)
    _kidneys(canvas, person)
    blood = 42 + person.contrast
    for knots in _ILIAC:
        canvas.tube(knots, blood, person.blood, Tissue.VESSEL, mirror=True)
    for rods in (
        ((12, -10, 305, 5), (48, -36, 308, 4)),
        ((-8, -8, 310, 5), (-48, -36, 316, 4)),
        ((8, 14, 330, 6), (30, 22, 370, 7), (52, 18, 385, 5)),
        ((-6, -2, 345, 4), (-6, 18, 330, 4), (0, 24, 270, 4)),
    ):
        canvas.tube(rods, blood, person.blood, Tissue.VESSEL)
    canvas.tube(URETER, 12 + person.contrast * 0.2, 1.5, Tissue.ORGAN, mirror=True)
    canvas.paint(canvas.ellipsoid((0, 24, 48), (42, 34, 32)), 35, 1.0, Tissue.ORGAN)
    canvas.paint(canvas.ellipsoid((0, 24, 48), (39, 31, 29)), 6, person.bladder, Tissue.ORGAN)
    rectum: Knots = ((0, -34, 20, 15), (4, -42, 70, 16), (-18, -10, 115, 14))
    canvas.tube(rectum, 35, person.bowel, Tissue.ORGAN)


def _upper(canvas: Canvas, person: Patient, cavity: Floats, rng: np.random.Generator) -> None:
    box = canvas.box((-150, -100, 265), (150, 110, 465))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    below = canvas.edge(z - diaphragm(x, y) + 3) * canvas.edge(cavity[box] + 2)
    grain = smooth_field(rng, canvas.grid, 12 * canvas.scale)[box]

    def organ(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Floats:
        parts = zip((x, y, z), centre, radii, strict=True)
        length = np.sqrt(sum(((p - c) / r) ** 2 for p, c, r in parts))
        return canvas.edge((length - 1) * min(radii))

    stomach = organ((-62, 26, 385), (46, 40, 50))
    hu, tracer = 45 + person.contrast * 0.3, 1.6
    canvas.paint(Region(box, stomach * below), hu, tracer, Tissue.ORGAN)
    inner = organ((-62, 26, 385), (42, 36, 46)) * below
    # Gas floats to the front of a lying patient.
    canvas.paint(Region(box, inner), np.where(y > 40, _GAS, 22), 0.6, Tissue.ORGAN)
    liver = np.maximum(organ((74, 4, 378), (78, 84, 84)), organ((6, 44, 392), (74, 42, 36)))
    hu = 58 + person.contrast * 0.5 + 3 * grain
    canvas.paint(Region(box, liver * below), hu, person.liver * (1 + 0.05 * grain), Tissue.ORGAN)
    spleen = organ((-98, -42, 392), (32, 38, 52))
    hu = 50 + person.contrast * 0.65 + 2 * grain
    canvas.paint(Region(box, spleen * below), hu, person.liver * 0.85, Tissue.ORGAN)
    for knots in (
        ((30, 20, 375, 4), (60, 0, 400, 3), (95, -10, 405, 2)),
        ((30, 20, 375, 4), (60, 30, 370, 3), (100, 40, 350, 2)),
    ):
        canvas.tube(
            knots, 45 + person.contrast * 0.8, person.liver, Tissue.ORGAN, only=(Tissue.ORGAN,)
        )
    canvas.paint(canvas.ellipsoid((58, 48, 325), (13, 16, 22)), 8, 0.5, Tissue.ORGAN)
    canvas.tube(
        _PANCREAS, 40 + person.contrast * 0.4, 1.4, Tissue.ORGAN, only=(Tissue.FAT, Tissue.VESSEL)
    )
    for side in (1, -1):
        canvas.tube(((side * 30, -34, 372, 3), (side * 42, -40, 350, 4)), 20, 1.5, Tissue.ORGAN)


def _kidneys(canvas: Canvas, person: Patient) -> None:
    cortex, pith = 35 + person.contrast * 1.1, 30 + person.contrast * 0.7
    for side, z in ((1, 306), (-1, 320)):
        turn = turn_about_z(side * 30)
        fat = (Tissue.MUSCLE, Tissue.ORGAN)
        canvas.paint(
            canvas.ellipsoid((side * 64, -48, z), (38, 33, 64), turn), -102, 0.3, Tissue.FAT, fat
        )
        for shift, radii, hu, suv in (
            (0, (27, 22, 54), cortex, person.kidney),
            (-3, (19, 14, 46), pith, person.kidney * 1.3),
            (-12, (15, 9, 26), -70, 0.6),
            (-15, (9, 6, 15), 10, person.bladder * 0.7),
        ):
            region = canvas.ellipsoid((side * (63 + shift), -47 - shift * 0.4, z), radii, turn)
            canvas.paint(region, hu, suv, Tissue.ORGAN)


def _bowel(canvas: Canvas, person: Patient, rng: np.random.Generator) -> None:
    """Paint loops: a wall, and gas or contents inside; some loops take up more tracer."""
    fat = (Tissue.FAT,)
    loops: list[tuple[Knots, float]] = []
    for _ in range(_BOWEL):
        middle = np.array([rng.uniform(-72, 72), rng.uniform(0, 62), rng.uniform(80, 305)])
        way, bow = rng.normal(0, 1, (2, 3)) * (24, 10, 15)
        radius = float(rng.uniform(9, 14))
        arc = [middle + t * way + (1 - t * t) * bow for t in (-1, -0.35, 0.35, 1)]
        loops.append((tuple((*map(float, place), radius) for place in arc), 0.4))
    loops += [(_COLON, 1.0), (tuple((-k[0], *k[1:]) for k in _COLON), 1.0), (_ACROSS, 1.0)]
    for knots, gas in loops:
        suv = float(person.bowel * np.exp(rng.normal(0, 0.35)))
        canvas.tube(knots, 40 + person.contrast * 0.3, suv, Tissue.ORGAN, only=fat)
        filled = _GAS if rng.random() < person.gas * gas else float(rng.uniform(5, 35))
        canvas.tube(knots, filled, suv * 0.6, Tissue.ORGAN, grow=-3.5, only=(Tissue.ORGAN,))
