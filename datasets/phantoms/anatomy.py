"""The body of a phantom: outline, wall, skeleton.

All places and sizes are atlas mm `(x, y, z)`: right, anterior, superior of the groin. HU are those
of a CT without or with venous contrast, SUV those of FDG one hour after injection.
"""

from __future__ import annotations

import numpy as np

from .canvas import (
    Canvas,
    Floats,
    Knots,
    Region,
    Slices,
    Tissue,
    profile,
    smooth_field,
    turn_about_z,
)
from .patient import Patient

REGIONS: dict[str, tuple[float, float]] = {
    "chest": (405, 690),
    "neck_to_abdomen": (345, 730),
    "brain_to_bladder": (15, 885),
}
"""Atlas heights between which each region lies."""
FIELD_MM = (265.0, 400.0)
"""Atlas mm, front to back and side to side, that must fit into the field of view."""
DIAPHRAGM_Z = 430.0

# z, half width, half depth, centre in y; without the fat under the skin.
_LEAN: Knots = (
    (-40, 150, 92, 2), (60, 152, 95, 0), (150, 142, 92, 0), (230, 130, 86, 0), (320, 134, 92, 0),
    (420, 144, 100, 0), (520, 152, 104, 0), (600, 160, 98, -4), (640, 158, 84, -10),
    (662, 128, 72, -14), (680, 82, 60, -14), (705, 58, 55, -10), (740, 56, 58, -4),
    (765, 60, 72, 4), (800, 66, 86, 8),
    (850, 72, 92, 6), (900, 66, 84, 4), (940, 20, 25, 2),
)  # fmt: skip
# The same of pleura and peritoneum, and in the neck of the fat around the airway.
_CAVITY: Knots = (
    (-40, 88, 55, 18), (60, 92, 62, 18), (150, 100, 66, 16), (230, 108, 70, 8), (320, 118, 76, 6),
    (420, 132, 86, 4), (500, 132, 88, 0), (560, 122, 82, -4), (610, 98, 64, -10),
    (645, 74, 46, -10), (668, 56, 38, -2), (700, 38, 30, 8), (745, 40, 32, 16),
    (790, 44, 42, 24), (940, 5, 5, 20),
)  # fmt: skip

# z, middle in y, radius, height of a vertebra.
_VERTEBRAE: Knots = (
    (-20, -62, 14, 30), (60, -66, 22, 33), (150, -54, 24, 34), (240, -38, 24, 34),
    (350, -44, 21, 29), (450, -52, 18, 25), (560, -54, 16, 22), (650, -38, 13, 17),
    (720, -26, 12, 15), (790, -20, 12, 15),
)  # fmt: skip


def paint_body(canvas: Canvas, person: Patient, rng: np.random.Generator) -> Floats:
    """Paint skin, fat, muscles, the fat of the cavities and the skeleton.

    Returns:
        Distance of each voxel from the wall of the cavities in atlas mm, negative inside.
    """
    rough = smooth_field(rng, canvas.grid, 22 * canvas.scale)
    fine = smooth_field(rng, canvas.grid, 9 * canvas.scale)
    wall = _outside(canvas, _LEAN)
    _skin_and_fat(canvas, wall, person, rough, fine)
    cavity = _outside(canvas, _CAVITY)
    _muscles(canvas, wall, cavity, person, rough, fine)
    _ribs(canvas, cavity, person)
    _spine(canvas, person)
    _girdles(canvas, person)
    if canvas.slices[-1, 0, 0] > 740:
        _head(canvas, person)
    return cavity


def _outside(canvas: Canvas, knots: Knots) -> Floats:
    """Return the distance from a closed outline in each slice along the ray from its middle."""
    a, b, middle = profile(knots, canvas.slices)
    y = canvas.y - middle
    # |u|^2.5, between an ellipse and a box.
    u, v = np.abs(canvas.x / a), np.abs(y / b)
    form = (u * u * np.sqrt(u) + v * v * np.sqrt(v)) ** np.float32(0.4)
    ray = np.sqrt(canvas.x**2 + y**2)
    return np.where(form > 1e-3, ray - ray / np.maximum(form, 1e-3), -b)


def _skin_and_fat(
    canvas: Canvas, wall: Floats, person: Patient, rough: Floats, fine: Floats
) -> None:
    # Little fat on the neck and head, most on the hips.
    share = profile(
        ((0, 1.5), (150, 1.3), (300, 1.0), (560, 0.8), (650, 0.7), (700, 0.35), (800, 0.3)),
        canvas.slices,
    )[0]
    thickness = person.fat_mm * share * (1 + np.float32(0.06) * rough) + 3
    if person.female:
        thickness = thickness + _breasts(canvas, person)
    whole = canvas.edge(wall - thickness)
    canvas.hu += whole * (-102 + 5 * fine + 4 * rough - canvas.hu)
    canvas.suv += whole * (np.float32(0.28) - canvas.suv)
    canvas.tissue[whole >= 0.5] = Tissue.FAT
    rim = whole * canvas.edge(thickness - 2.2 - wall)
    canvas.hu += rim * (30 - canvas.hu)
    canvas.tissue[rim >= 0.5] = Tissue.SKIN
    if person.female:
        for side in (1, -1):
            gland = canvas.ellipsoid((72 * side, 112 + person.fat_mm / 2, 516), (26, 13, 24))
            canvas.paint(gland, 5, 0.8, None, (Tissue.FAT,))


def _breasts(canvas: Canvas, person: Patient) -> Floats:
    """Return how far the skin bulges forward, in atlas mm."""
    across = ((np.abs(canvas.x) - 68) / 36) ** 2 + ((canvas.z - 516) / 34) ** 2
    return (18 + person.fat_mm / 2) * np.exp(-across) * np.clip(canvas.y / 40, 0, 1)


def _muscles(
    canvas: Canvas, wall: Floats, cavity: Floats, person: Patient, rough: Floats, fine: Floats
) -> None:
    inside = canvas.edge(wall) * canvas.edge(-cavity)
    # Thin fat between the layers of muscle, which follow the skin.
    depth = 3 * rough + fine - wall
    layer = np.abs(depth - 13 * np.floor(depth / 13) - np.float32(6.5))
    sheets = canvas.edge(layer - 0.7) * ((depth > 4) & (depth < 30)) * np.clip(0.5 + rough, 0, 1)
    share = inside * (1 - np.float32(0.5) * sheets)
    canvas.hu += share * (56 + person.contrast * 0.08 + 5 * fine - canvas.hu)
    canvas.suv += share * (person.muscle * (1 + np.float32(0.08) * rough) - canvas.suv)
    canvas.tissue[inside >= 0.5] = Tissue.MUSCLE
    # Muscles that bulge into the cavities: along the spine, psoas, the neck's long ones.
    hu = 56 + person.contrast * 0.08
    for knots in (
        (
            (34, -72, 0, 20),
            (36, -70, 250, 21),
            (30, -78, 450, 18),
            (26, -74, 640, 15),
            (24, -50, 740, 15),
        ),
        (
            (30, -42, 330, 8),
            (42, -38, 260, 19),
            (58, -12, 150, 21),
            (80, 18, 40, 20),
            (85, 10, -20, 18),
        ),
        ((18, 44, 646, 6), (34, 22, 690, 10), (46, 0, 740, 11), (56, -20, 785, 11)),
        ((22, -26, 650, 9), (20, -26, 760, 8)),
    ):
        canvas.tube(
            knots, hu, person.muscle, Tissue.MUSCLE, mirror=True, grow=0, only=(Tissue.FAT,)
        )


def _ribs(canvas: Canvas, cavity: Floats, person: Patient) -> None:
    box = canvas.box((-170, -130, 350), (170, 130, 662))
    if box is None:
        return
    x, y, z, depth = canvas.x[box], canvas.y[box], canvas.z[box], cavity[box]
    # Ribs run down and forward, 25 mm apart.
    phase = (z + np.float32(0.45) * (y + 70) + np.float32(0.22) * np.abs(x)) / 25
    along = np.abs(phase - np.floor(phase) - np.float32(0.5)) * 25
    across = np.abs(depth - 6)
    distance = np.maximum(along - 5, across - 4)
    share = canvas.edge(distance) * (canvas.slices[box[0]] > 372) * (z < 655)
    front = (y > 45) & (np.abs(x) < 75)
    hu = np.where(front, 110, 280 + 520 * np.clip((distance + 3) / 3, 0, 1)).astype(np.float32)
    canvas.paint(Region(box, share), hu, 0.6 * person.marrow, Tissue.BONE)
    front_of = profile(_CAVITY, canvas.slices[box[0]])
    y_front = front_of[1] + front_of[2] + 7
    flat = np.sqrt((x / 19) ** 2 + ((y - y_front) / 7) ** 2) - 1
    share = canvas.edge(flat * 7) * (z > 480) * (z < 640)
    _bone(canvas, box, share, flat * 7, person)


def _spine(canvas: Canvas, person: Patient) -> None:
    box = canvas.box((-60, -125, -60), (60, 0, 800))
    if box is None:
        return
    x, z = canvas.x[box], canvas.z[box]
    middle, radius, pitch = profile(_VERTEBRAE, canvas.slices[box[0]])
    y = canvas.y[box] - middle
    body = np.sqrt((x / 1.15) ** 2 + y**2) - radius
    level = (z / pitch - np.floor(z / pitch) - np.float32(0.5)) * pitch
    disc = np.clip((np.abs(level) - (pitch / 2 - 3)) / 2, 0, 1)
    share = canvas.edge(body)
    _bone(canvas, box, share * (1 - disc), np.maximum(body, np.abs(level) - pitch / 2 + 3), person)
    canvas.paint(Region(box, share * disc), 85, 0.7, None)
    canvas.tissue[box][share >= 0.5] = Tissue.BONE
    arch_y = y + radius + 9
    ring = np.abs(np.sqrt((x / 1.1) ** 2 + arch_y**2) - 11) - 3.2
    spine = np.maximum(np.abs(x) - 2.8, np.abs(arch_y + 20) - 10)
    wings = np.maximum(
        np.maximum(np.abs(x) - 34, np.abs(arch_y + 4 + np.abs(x) * 0.3) - 3.5), np.abs(level) - 6
    )
    # Arches and spines leave gaps between the levels.
    arch = np.maximum(np.minimum(ring, spine), np.abs(level) - pitch * np.float32(0.36))
    arch = np.minimum(arch, wings)
    share = canvas.edge(arch) * (body > 0)
    _bone(canvas, box, share, arch, person)
    cord = canvas.edge(np.sqrt((x / 1.15) ** 2 + arch_y**2) - 7.5) * (body > 0)
    canvas.paint(Region(box, cord), 28, 1.4, Tissue.ORGAN)


def _girdles(canvas: Canvas, person: Patient) -> None:
    """Paint clavicles, shoulder blades, arms' heads, hips and sacrum."""
    m = person.marrow * 0.7
    rods: tuple[Knots, ...] = (
        ((16, 52, 640, 8), (60, 44, 655, 6), (105, 18, 664, 6), (138, 4, 660, 7)),
        ((62, -88, 575, 3.5), (88, -86, 600, 3.5), (112, -62, 640, 5)),
        ((62, -88, 575, 3.5), (66, -90, 545, 3), (78, -90, 525, 3)),
        ((88, -86, 600, 3), (78, -90, 560, 3), (100, -82, 570, 3)),
    )
    for knots in rods:
        canvas.tube(knots, 480, m, Tissue.BONE, mirror=True, only=(Tissue.FAT, Tissue.MUSCLE))
    for side in (1, -1):
        head = canvas.ellipsoid((side * 136, -18, 640), (22, 22, 22))
        canvas.paint(head, 330, m, Tissue.BONE)
        hip = canvas.ellipsoid((side * 92, 4, 18), (23, 23, 23))
        for degrees, centre, radii in (
            (-38, (94, -34, 130), (8, 52, 62)),
            (-15, (88, -10, 60), (20, 34, 32)),
        ):
            turn = turn_about_z(side * degrees)
            wing = canvas.ellipsoid((side * centre[0], *centre[1:]), radii, turn)
            canvas.paint(wing, 420, person.marrow, Tissue.BONE)
        canvas.paint(hip, 360, m, Tissue.BONE)
        sacrum = canvas.ellipsoid((side * 26, -68, 100), (28, 15, 48))
        canvas.paint(sacrum, 260, person.marrow, Tissue.BONE)


def _head(canvas: Canvas, person: Patient) -> None:
    """Paint skull, brain, face and jaw."""
    for radii, hu, suv in (
        ((69, 88, 82), 900, 0.6),
        ((63, 82, 76), 25, 2.0),
        ((61, 80, 74), 36, person.brain),
    ):
        region = canvas.ellipsoid((0, -2, 868), radii)
        tissue = Tissue.BONE if hu == 900 else Tissue.ORGAN
        canvas.paint(region, hu, suv, tissue)
    for side in (1, -1):
        ventricle = canvas.ellipsoid((10 * side, -4, 870), (6, 28, 9))
        canvas.paint(ventricle, 8, 1.0, Tissue.ORGAN)
        canvas.paint(canvas.ellipsoid((24 * side, 62, 812), (13, 14, 15)), -950, 0, Tissue.AIRWAY)
    canvas.paint(canvas.ellipsoid((0, 48, 812), (9, 30, 18)), -850, 0.3, Tissue.AIRWAY)
    jaw: Knots = ((50, -8, 805, 5), (46, 6, 770, 6), (28, 56, 760, 6), (0, 70, 758, 7))
    canvas.tube(jaw, 750, 0.6, Tissue.BONE, mirror=True)
    teeth: Knots = ((34, 38, 785, 5), (22, 60, 785, 5), (0, 68, 785, 5))
    canvas.tube(teeth, 1100, 0.5, Tissue.BONE, mirror=True)


def _bone(canvas: Canvas, box: Slices, share: Floats, distance: Floats, person: Patient) -> None:
    """Paint marrow inside a denser rim; `distance` is negative inside."""
    hu = 190 + 420 * np.clip(1 + distance / 3, 0, 1)
    canvas.paint(Region(box, share), hu, person.marrow, Tissue.BONE)
