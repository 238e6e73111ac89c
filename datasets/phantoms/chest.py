"""The chest of a phantom: lungs with their vessels, airways, heart and great vessels."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Floats, Knots, Region, Tissue, smooth_field, turn_about_z
from .patient import Patient

_GAS = -960.0
_NOT_OUTSIDE = tuple(tissue for tissue in Tissue if tissue not in (Tissue.AIR, Tissue.SKIN))
_ROOTS = ((42, -8, 548), (46, 2, 520), (44, -22, 510))
"""Where the vessels enter each lung."""

AORTA: Knots = (
    (4, 16, 515, 14), (12, 22, 550, 14), (12, 20, 580, 13), (2, 2, 602, 13), (-12, -22, 602, 12),
    (-22, -38, 585, 12), (-24, -42, 540, 11), (-20, -40, 470, 11), (-10, -28, 400, 10),
    (-6, -12, 330, 9), (-4, -10, 260, 8), (0, -12, 215, 8),
)  # fmt: skip
_CAVA: Knots = (
    (20, 0, 460, 10), (22, -4, 420, 11), (20, -14, 340, 10), (16, -12, 215, 10),
)  # fmt: skip
_UPPER_CAVA: Knots = ((22, 12, 515, 9), (24, 14, 560, 9), (22, 18, 610, 8))
LUNG_ARTERY: Knots = ((-12, 36, 520, 13), (-14, 16, 552, 13))
ARCH_BRANCHES: tuple[Knots, ...] = (
    ((6, 8, 605, 6), (14, 10, 640, 6), (26, 4, 660, 4), (28, 0, 740, 3.5), (30, 0, 800, 3)),
    ((-6, -4, 605, 5), (-12, 0, 640, 4), (-27, 2, 665, 4), (-28, 0, 740, 3.5), (-30, 0, 800, 3)),
    ((22, 6, 652, 4.5), (56, 6, 668, 4.5), (92, 2, 646, 4.5), (122, -6, 618, 4)),
    (
        (-14, -10, 606, 5),
        (-24, -6, 650, 4.5),
        (-56, 6, 668, 4.5),
        (-92, 2, 646, 4.5),
        (-122, -6, 618, 4),
    ),
)
_VEINS: tuple[Knots, ...] = (
    ((22, 18, 610, 8), (28, 20, 640, 7), (38, 14, 668, 6.5), (40, 8, 740, 6), (42, 2, 795, 5)),
    ((22, 18, 606, 7), (0, 26, 618, 7), (-24, 20, 645, 7), (-38, 14, 668, 6), (-40, 8, 740, 5.5),
     (-42, 2, 795, 4.5)),
    ((30, 20, 646, 6), (60, 20, 656, 5), (94, 12, 634, 5), (124, 2, 606, 4.5)),
    ((-30, 20, 646, 6), (-60, 20, 656, 5), (-94, 12, 634, 5), (-124, 2, 606, 4.5)),
    ((12, -40, 400, 3), (12, -38, 560, 3.5), (20, -16, 580, 3.5), (23, 8, 580, 4)),
)  # fmt: skip
ARTERIES = (AORTA, *ARCH_BRANCHES)
"""What a contrast agent fills first."""
INJECTED = (_VEINS[3], _VEINS[1][:3], _UPPER_CAVA)
"""The way from the vein of the left arm to the heart."""
_TRACHEA: Knots = ((0, 14, 745, 8), (0, 18, 700, 8.5), (0, 4, 640, 8.5), (0, -10, 566, 8.5))
_BRONCHI: Knots = ((0, -10, 568, 8), (22, -14, 550, 7), (46, -14, 530, 5), (62, -20, 500, 3.5))
_GULLET: Knots = (
    (0, 0, 740, 6), (-3, 4, 690, 6), (-6, -12, 630, 6.5), (-4, -28, 560, 7), (-8, -26, 470, 7),
    (-22, -8, 425, 7),
)  # fmt: skip


def paint_chest(canvas: Canvas, person: Patient, cavity: Floats, rng: np.random.Generator) -> None:
    """Paint lungs, heart, airways and vessels over the fat of the cavity."""
    _lungs(canvas, cavity, rng)
    for side in (1, -1):
        _lung_vessels(canvas, person, side, rng)
    _heart(canvas, person)
    blood = 42 + person.contrast
    great = (AORTA, _CAVA, _UPPER_CAVA, LUNG_ARTERY, *ARCH_BRANCHES, *_VEINS)
    for knots in great:
        canvas.tube(knots, blood, person.blood, Tissue.VESSEL, only=_NOT_OUTSIDE)
    for right in (
        ((-14, 14, 552, 10), (14, -2, 552, 9), (42, -6, 546, 7)),
        ((-14, 14, 552, 10), (-44, -10, 556, 8)),
    ):
        canvas.tube(right, blood, person.blood, Tissue.VESSEL)
    canvas.tube(
        ((-24, 8, 500, 8), (0, -14, 520, 12), (26, 0, 508, 8)), blood, person.blood, Tissue.VESSEL
    )
    canvas.tube(_GULLET, 38 + person.contrast * 0.2, 1.6, Tissue.ORGAN)
    canvas.tube(_GULLET[2:4], -500, 1.0, Tissue.ORGAN, grow=-4.5)
    for knots, mirror in ((_TRACHEA, False), (_BRONCHI, True)):
        canvas.tube(knots, 20, 0.8, Tissue.AIRWAY, mirror=mirror, grow=1.8)
        canvas.tube(knots, _GAS, 0.1, Tissue.AIRWAY, mirror=mirror)


def diaphragm(x: Floats, y: Floats) -> Floats:
    """Return the height of the diaphragm: two domes, the right one higher."""
    ahead = (y - 12) ** 2
    right = 446 - np.float32(0.0055) * ((x - 66) ** 2 + ahead)
    left = 432 - np.float32(0.0060) * ((x + 68) ** 2 + ahead)
    middle = 428 - np.float32(0.004) * (x * x + ahead)
    return np.maximum(np.maximum(right, left), np.maximum(middle, 372))


def _lungs(canvas: Canvas, cavity: Floats, rng: np.random.Generator) -> None:
    box = canvas.box((-150, -110, 365), (150, 110, 680))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    side = np.abs(x)
    apex = 676 - np.float32(0.013) * (side - 40) ** 2 - np.float32(0.012) * (y + 22) ** 2
    # The middle is broad around the great vessels, thin in front of them and beside the spine.
    width = 32 + 3 * np.cos(z / 19)
    width = (
        width
        - np.float32(0.35) * np.clip(y - 18, 0, 60)
        - np.float32(0.25) * np.clip(-y - 30, 0, 40)
    )
    out = np.maximum(
        np.maximum(cavity[box] + 1.5, diaphragm(x, y) - z), np.maximum(z - apex, width - side)
    )
    share = canvas.edge(out)
    grain = smooth_field(rng, canvas.grid, 7 * canvas.scale)[box]
    # Denser at the back, where the lung hangs down on a lying patient.
    hu = -870 - y * np.float32(0.45) + 14 * grain
    canvas.paint(Region(box, share), hu, 0.45, Tissue.LUNG)


def _lung_vessels(canvas: Canvas, person: Patient, side: int, rng: np.random.Generator) -> None:
    """Paint a random tree per lobe: each branch parts in two, thinner and shorter."""
    only = (Tissue.LUNG,)
    for root in _ROOTS:
        start = np.array([side * root[0], *root[1:]], float)
        goal = np.array([side * rng.uniform(70, 95), rng.uniform(-30, 40), root[2]])
        goal[2] += {548: 50, 520: -10, 510: -55}[root[2]]
        heading = goal - start
        tips = [(start, heading / np.linalg.norm(heading), 4.6, 34.0)]
        for _ in range(5):
            grown = []
            for place, along, radius, length in tips:
                for _ in range(2):
                    turned = along + rng.normal(0, 0.42, 3)
                    turned /= np.linalg.norm(turned)
                    end = place + turned * length * rng.uniform(0.7, 1.2)
                    region = canvas.capsule(place, end, radius, radius * 0.75)
                    canvas.paint(region, 30 + person.contrast * 0.6, 0.7, Tissue.VESSEL, only)
                    grown.append((end, turned, radius * 0.72, length * 0.82))
            # All of the thick branches, and a share of the thin ones.
            keep = rng.permutation(len(grown))[:12]
            tips = [grown[i] for i in keep]


def _heart(canvas: Canvas, person: Patient) -> None:
    """Paint fat, chambers and the left ventricle's wall, whose uptake varies most of all organs."""
    blood, wall = 42 + person.contrast, 50 + person.contrast * 0.55
    turn = turn_about_z(-38)
    fat = (Tissue.LUNG, Tissue.FAT, Tissue.VESSEL)
    canvas.paint(canvas.ellipsoid((-16, 24, 472), (66, 50, 52), turn), -80, 0.5, Tissue.FAT, fat)
    for centre, radii, hu, suv in (
        ((-14, 24, 472), (60, 45, 46), wall, person.blood * 1.1),
        ((26, 20, 480), (22, 26, 30), blood, person.blood),
        ((-6, -10, 492), (28, 17, 22), blood, person.blood),
        ((-2, 46, 472), (36, 15, 32), blood, person.blood),
        ((-40, 18, 464), (42, 31, 34), wall, person.heart),
        ((-36, 15, 468), (31, 19, 22), blood, person.blood),
    ):
        turned = turn if radii[0] > 30 else None
        canvas.paint(canvas.ellipsoid(centre, radii, turned), hu, suv, Tissue.ORGAN)
