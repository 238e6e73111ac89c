"""What the acquisition adds to the body: arms, arteries in the arterial phase, metal."""

from __future__ import annotations

import numpy as np

from ..canvas import Canvas, Knots, Tissue
from ..chest import ARTERIES, INJECTED
from ..organs import ILIAC_ARTERY
from ..patient import Patient
from .acquisition import Acquisition, Metal

METAL_HU = 3000.0
_AIR = (Tissue.AIR, Tissue.SKIN)
_ARM: dict[str, Knots] = {
    # Shoulder, upper arm, elbow, forearm: beside the head, or beside the body.
    "up": ((140, -14, 650, 40), (143, -12, 690, 40), (146, -10, 780, 40), (128, 10, 900, 32)),
    "down": ((150, -14, 636, 40), (172, -13, 590, 42), (202, -4, 400, 38), (196, 20, 250, 32)),
}
_METAL: dict[Metal, Knots] = {
    "none": (),
    "teeth": ((30, 46, 786, 3.0), (31, 42, 786, 3.0)),
    "port": ((-72, 88, 610, 6.0), (-72, 90, 604, 6.0)),
    "clip": ((58, 6, 356, 2.0), (60, 8, 350, 2.0)),
    "hip": ((92, 4, 34, 17.0), (100, 2, -10, 11.0)),
}


def paint_arms(canvas: Canvas, person: Patient, acquisition: Acquisition) -> None:
    """Paint both arms: skin, fat, muscle and bone."""
    knots = _ARM[acquisition.arms]
    fat = 2.0 + person.fat_mm * 0.4
    canvas.tube(knots, 30.0, 0.3, Tissue.SKIN, mirror=True, only=(Tissue.AIR,))
    canvas.tube(knots, -102.0, 0.28, Tissue.FAT, mirror=True, grow=-2.0, only=_AIR)
    # The first piece lies at the shoulder, whose fat and muscles are there already.
    soft = (*_AIR, Tissue.FAT)
    hu, suv = 56 + person.contrast * 0.08, person.muscle
    canvas.tube(knots[1:], hu, suv, Tissue.MUSCLE, mirror=True, grow=-fat, only=soft)
    bone = tuple((x, y, z, 11.0) for x, y, z, _ in knots[1:])
    canvas.tube(bone, 850.0, person.marrow * 0.5, Tissue.BONE, mirror=True)
    canvas.tube(bone, 60.0, person.marrow * 0.5, Tissue.BONE, mirror=True, grow=-4.5)


def fill_arteries(canvas: Canvas, person: Patient, acquisition: Acquisition) -> None:
    """Fill arteries, and densely the vein of the injected arm, in the arterial phase."""
    if acquisition.phase != "arterial":
        return
    hu = 42 + acquisition.artery_hu
    for knots, mirror in (*((one, False) for one in ARTERIES), (ILIAC_ARTERY, True)):
        canvas.tube(knots, hu, person.blood, Tissue.VESSEL, mirror=mirror, only=(Tissue.VESSEL,))
    for knots in INJECTED:
        canvas.tube(knots, hu + 350, person.blood, Tissue.VESSEL, only=(Tissue.VESSEL,))


def paint_metal(canvas: Canvas, acquisition: Acquisition) -> np.ndarray | None:
    """Paint metal over everything but nodes; return how much of each voxel it fills, if any."""
    knots = _METAL[acquisition.metal]
    if not knots:
        return None
    before = canvas.hu.copy()
    but_nodes = tuple(one for one in Tissue if one not in (Tissue.NODE, Tissue.AIR))
    canvas.tube(knots, METAL_HU, 0.2, Tissue.BONE, only=but_nodes)
    share = np.clip((canvas.hu - before) / np.maximum(METAL_HU - before, 1), 0, 1)
    return share if share.max() > 0.05 else None
