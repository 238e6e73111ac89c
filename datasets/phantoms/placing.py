"""Put the nodes of a phantom where there is room for them, with their exact voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hilum.core.connected_components import components

from .canvas import Canvas, Floats, Region, Tissue
from .nodes import Node, form_of
from .shapes import directions
from .stations import STATIONS, Room, Station, lookup, stations_in_view

_YIELDS = (Tissue.FAT, Tissue.LUNG, Tissue.MUSCLE, Tissue.NODE)
"""Tissues that a node pushes aside; it moulds itself around all others."""
_WORTH = {Tissue.FAT: 1.0, Tissue.MUSCLE: 0.5, Tissue.LUNG: 0.25}
"""How readily a node lies in each tissue; hilar ones bulge into the lung."""
_LEAST_FREE = 0.6
_TRIES = 5


@dataclass
class Nodes:
    """Nodes as painted.

    Attributes:
        drawn: Each node; number `i + 1` in `instances`.
        instances: int16 `[D, H, W]`.
    """

    drawn: list[Node]
    instances: NDArray[np.int16]
    owner: Floats = field(repr=False)


def paint_nodes(
    canvas: Canvas,
    groups: list[list[Node]],
    rng: np.random.Generator,
    stations: Mapping[str, Station] = STATIONS,
) -> Nodes:
    """Find room for each group at a station in view, and paint its nodes, largest first."""
    room = Room(canvas, _WORTH)
    seen = stations_in_view(canvas, stations)
    painted = Nodes(
        [], np.zeros(canvas.grid.shape, np.int16), np.full(canvas.grid.shape, np.inf, "f4")
    )
    if not seen:
        return painted
    for group in groups:
        station, place = _settle(canvas, room, group[0], seen, rng)
        before = None
        for node in group:
            if before is not None:
                place = _beside(canvas, before, node, place, rng)
                if _free_share(canvas, node, place) < _LEAST_FREE / 2:
                    station, place = _settle(canvas, room, node, seen, rng)
            _paint_node(canvas, replace(node, station=station), place, painted)
            room.take(place, float(np.mean(node.shape.axes_mm)) / 2)
            before = node
    _tidy(painted)
    return painted


def _settle(
    canvas: Canvas,
    room: Room,
    node: Node,
    seen: Mapping[str, Station],
    rng: np.random.Generator,
) -> tuple[str, NDArray[np.float64]]:
    """Return station and place where most of the node finds room, of a few tries."""
    best = (-1.0, "", np.zeros(3))
    names, weights = list(seen), np.array([one.weight_of(node.short_mm) for one in seen.values()])
    for _ in range(_TRIES):
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        place = room.find(seen[name], node.short_mm / 2, rng)
        free = _free_share(canvas, node, place)
        if free > best[0]:
            best = (free, name, place)
        if free >= _LEAST_FREE:
            break
    return best[1], best[2]


def _free_share(canvas: Canvas, node: Node, place: NDArray[np.float64]) -> float:
    found = form_of(canvas, node, place)
    if found is None:
        return 0.0
    tissue = canvas.tissue[found[0]][found[1] < 1]
    if not tissue.size:
        return 0.5
    return float(lookup(_WORTH)[tissue].mean())


def _beside(
    canvas: Canvas, before: Node, node: Node, place: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the freest of several places beside the node before."""
    apart = (np.mean(before.shape.axes_mm) + np.mean(node.shape.axes_mm)) / 2
    apart = apart * 0.8 if node.confluent else apart * 1.1 + 2
    ways = directions(rng, 10) * apart / np.asarray(canvas.grid.spacing)
    edge = np.subtract(canvas.grid.shape, 3)
    places = [np.clip(place + way, 2, edge) for way in ways]
    return places[int(np.argmax([_free_share(canvas, node, one) for one in places]))]


def _paint_node(canvas: Canvas, node: Node, place: NDArray[np.float64], painted: Nodes) -> None:
    found = form_of(canvas, node, place)
    assert found is not None, "a place lies inside the grid"
    box, form, own = found
    voxel = float(np.mean(canvas.grid.spacing))
    share = np.clip(0.5 - (form - 1) * (node.short_mm / 2) / voxel, 0, 1)
    mine = np.isin(canvas.tissue[box], _YIELDS) & (form < painted.owner[box])
    share = np.where(mine, share, 0).astype(np.float32)
    inside = share >= 0.5
    if inside.any():
        parts, count = components(inside, 6)
        if count > 1:
            inside = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    else:
        inside = np.zeros_like(inside)
        inside[np.unravel_index(int(np.argmax(share)), share.shape)] = share.max() > 0
    if not inside.any():
        return
    share = share * ndimage.binary_dilation(inside)
    hu = np.full_like(share, node.hu)
    suv = np.full_like(share, node.suv)
    if node.hilum:
        fat = np.clip(
            2.5
            - 5
            * np.sqrt((own[0] / 0.5) ** 2 + ((own[1] - 0.4) / 0.8) ** 2 + (own[2] / 0.6) ** 2)
            / 2,
            0,
            1,
        )
        hu += fat * (-70 - hu)
        suv *= 1 - 0.5 * fat
    if node.necrosis:
        dead = np.clip((0.6 - form) / 0.2, 0, 1)
        hu += dead * (18 - hu)
        suv *= 1 - 0.8 * dead
    canvas.paint(Region(box, share), hu, suv, None)
    canvas.tissue[box][inside] = Tissue.NODE
    painted.drawn.append(node)
    painted.instances[box][inside] = len(painted.drawn)
    painted.owner[box][inside] = form[inside]


def _tidy(painted: Nodes) -> None:
    """Drop nodes that later ones have swallowed, and number the others from 1."""
    sizes = np.bincount(painted.instances.ravel(), minlength=len(painted.drawn) + 1)
    keep = [i for i in range(1, len(sizes)) if sizes[i]]
    table = np.zeros(len(sizes), np.int16)
    table[keep] = np.arange(1, len(keep) + 1)
    painted.instances = table[painted.instances]
    painted.drawn = [painted.drawn[i - 1] for i in keep]
