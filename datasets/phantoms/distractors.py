"""Uptake that is no node: as hot, as small and as round as malignant nodes, and as close by.

On the PET they cannot be told from nodes; the CT shows fat, muscle, a vessel or the ureter there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Region, Slices, Tissue
from .nodes import Node, form_of, malignant_suv
from .organs import URETER
from .shapes import DrawShape, draw_bumpy
from .stations import STATIONS, Room, Station, stations_in_view

Kind = Literal["brown_fat", "muscle", "vessel", "ureter"]

_SHARES: dict[Kind, float] = {"brown_fat": 0.6, "muscle": 0.15, "vessel": 0.13, "ureter": 0.12}
_TISSUE: dict[Kind, Tissue] = {
    "brown_fat": Tissue.FAT,
    "muscle": Tissue.MUSCLE,
    "vessel": Tissue.VESSEL,
    "ureter": Tissue.ORGAN,
}
_MEDIAN_MM, _SIGMA = 13.0, 0.4
_LEAST_ML = 0.15
"""Smaller ones, such as a crumb in a thin vessel, are left out: the PET would not show them."""
_BESIDE_SPINE = {
    f"paravertebral_{side}_{z}": Station((sign * 24.0, -62.0, z), (6, 6, 14), 0.5)
    for side, sign in (("right", 1), ("left", -1))
    for z in (450, 530, 600)
}


@dataclass
class Distractor:
    """One focus of uptake that is no node.

    Attributes:
        kind: What takes up the tracer.
        station: The nearest place in the tables of stations.
        short_mm: Short axis as drawn.
        suv: True uptake.
        box, mask: Its voxels on the CT grid.
    """

    kind: Kind
    station: str
    short_mm: float
    suv: float
    box: Slices
    mask: NDArray[np.bool_]


def paint_distractors(
    canvas: Canvas,
    mean: float,
    rng: np.random.Generator,
    stations: Mapping[str, Station] = STATIONS,
    draw_shape: DrawShape = draw_bumpy,
) -> list[Distractor]:
    """Paint a random number of them into the tracer; the CT stays as it is.

    Call it after the nodes: their voxels are never touched.

    Args:
        canvas: The painted patient.
        mean: Expected number; how much of it is brown fat differs between patients.
        rng: Source.
        stations: Where nodes lie, and these next to them.
        draw_shape: Draws a shape of a short axis in mm.
    """
    rooms = {
        "brown_fat": Room(canvas, {Tissue.FAT: 1.0}),
        "muscle": Room(canvas, {Tissue.MUSCLE: 1.0}),
        "vessel": Room(canvas, {Tissue.VESSEL: 1.0}),
    }
    names = {**stations_in_view(canvas, stations), **_in_view(canvas)}
    shares = np.array(list(_SHARES.values()))
    shares[0] *= rng.uniform(0.4, 1.8)
    found = []
    for _ in range(int(rng.poisson(mean))):
        kind: Kind = list(_SHARES)[int(rng.choice(len(shares), p=shares / shares.sum()))]
        short = float(np.clip(np.exp(rng.normal(np.log(_MEDIAN_MM), _SIGMA)), 5, 26))
        if kind == "ureter":
            one = _ureter(canvas, rng)
        elif names:
            one = _focus(canvas, kind, rooms[kind], short, names, rng, draw_shape)
        else:
            one = None
        if one is not None:
            found.append(one)
    return found


def _focus(
    canvas: Canvas,
    kind: Kind,
    room: Room,
    short: float,
    names: dict[str, Station],
    rng: np.random.Generator,
    draw_shape: DrawShape,
) -> Distractor | None:
    weights = np.array([one.weight for one in names.values()])
    station = list(names)[int(rng.choice(len(names), p=weights / weights.sum()))]
    place = room.find(names[station], short / 2, rng)
    shape = draw_shape(rng, short)
    suv = malignant_suv(rng, short)
    found = form_of(canvas, Node(short, shape, False, suv, 0, False), place)
    if found is None:
        return None
    box, form, _ = found
    voxel = float(np.mean(canvas.grid.spacing))
    share = np.clip(0.5 - (form - 1) * (short / 2) / voxel, 0, 1).astype(np.float32)
    share *= canvas.tissue[box] == _TISSUE[kind]
    mask = share >= 0.5
    if mask.sum() * canvas.grid.voxel_ml < _LEAST_ML:
        return None
    room.take(place, float(shape.axes_mm.mean()) / 2)
    canvas.paint(Region(box, share), None, suv, None)
    return Distractor(kind, station, short, suv, box, mask)


def _ureter(canvas: Canvas, rng: np.random.Generator) -> Distractor | None:
    """Fill a short piece of a ureter with urine."""
    side = int(rng.choice((-1, 1)))
    step = int(rng.integers(len(URETER) - 1))
    start, end = np.array(URETER[step]), np.array(URETER[step + 1])
    middle = start + (end - start) * rng.uniform(0.1, 0.9)
    along = (end - start)[:3] / np.linalg.norm((end - start)[:3])
    half = along * rng.uniform(4, 9) / canvas.scale
    a, b = middle[:3] - half, middle[:3] + half
    a[0], b[0] = side * a[0], side * b[0]
    radius = float(middle[3])
    region = canvas.capsule(a.tolist(), b.tolist(), radius, radius)
    if region is None:
        return None
    suv = float(np.clip(16 * np.exp(rng.normal(0, 0.4)), 6, 50))
    share = region.share * (canvas.tissue[region.box] == Tissue.ORGAN)
    mask = share >= 0.5
    if not mask.any():
        return None
    canvas.paint(Region(region.box, share), None, suv, None)
    return Distractor("ureter", "ureter", 2 * radius * canvas.scale, suv, region.box, mask)


def _in_view(canvas: Canvas) -> dict[str, Station]:
    return {k: v for k, v in _BESIDE_SPINE.items() if canvas.in_view(canvas.index_of(v.centre))}
