"""Lymph nodes of a phantom: how many, how large, how avid, of what shape.

Benign and malignant nodes have the same shape and HU; only size (overlapping) and, in a few benign
ones, a fatty hilum speak for one or the other on CT. The tracer tells them apart, except for small
or mildly avid malignant ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Floats, Slices
from .shapes import DrawShape, Shape, draw_bumpy
from .stations import MEDIAN_MM, SIGMA

SHORT_AXIS_MM = (4.0, 30.0)


@dataclass(frozen=True)
class Node:
    """One node as drawn.

    Attributes:
        short_mm: Short axis of the ellipsoid in the axial plane.
        shape: Its surface.
        malignant: Whether it belongs to the target.
        suv: True uptake.
        hu: CT value.
        hilum: Whether it has a fatty hilum.
        confluent: Whether it grows into the node before it.
        necrosis: Whether its middle is dead.
        station: Name in `STATIONS`.
    """

    short_mm: float
    shape: Shape
    malignant: bool
    suv: float
    hu: float
    hilum: bool
    confluent: bool = False
    necrosis: bool = False
    station: str = ""


def draw_short_axes(
    rng: np.random.Generator,
    count: int,
    bounds_mm: tuple[float, float] = SHORT_AXIS_MM,
    sigma: float = SIGMA,
) -> NDArray[np.float64]:
    """Draw short axes in mm: log-normal, cut off at the bounds by drawing again."""
    low, high = np.log(bounds_mm)
    drawn = rng.normal(np.log(MEDIAN_MM), sigma, count)
    while ((drawn < low) | (drawn > high)).any():
        bad = (drawn < low) | (drawn > high)
        drawn[bad] = rng.normal(np.log(MEDIAN_MM), sigma, int(bad.sum()))
    return np.exp(drawn)


def malignant_suv(rng: np.random.Generator, short_mm: float) -> float:
    """Draw the true uptake of a malignant node: rises with size, from hardly visible to hot."""
    middle = 5.5 * (short_mm / 10) ** 0.45
    return float(np.clip(middle * np.exp(rng.normal(0, 0.45)), 1.8, 25))


def draw_nodes(
    rng: np.random.Generator, mean: float, negative: bool, contrast: float
) -> list[list[Node]]:
    """Draw the nodes of a patient, in groups that lie together.

    Args:
        rng: Source.
        mean: Expected number of nodes; at least 3 are drawn.
        negative: Whether none may be malignant.
        contrast: HU of venous contrast in blood; nodes take up less of it.
    """
    count = max(3, int(rng.poisson(mean)))
    return draw_nodes_of(rng, draw_short_axes(rng, count), negative, contrast, draw_bumpy)


def draw_nodes_of(
    rng: np.random.Generator,
    short_mm: NDArray[np.float64],
    negative: bool,
    contrast: float,
    draw_shape: DrawShape,
) -> list[list[Node]]:
    """Draw nodes of these short axes in groups, the largest first; see `draw_nodes`."""
    shorts, count = np.sort(short_mm)[::-1], len(short_mm)
    habit = rng.normal(0.1, 0.5)
    chance = 1 / (1 + np.exp(-(habit + 2.2 * np.log(shorts / 10))))
    malignant = (rng.random(count) < chance) & (not negative)
    if not negative and not malignant.any():
        malignant[0] = True
    nodes = [
        _draw_node(rng, float(s), bool(m), contrast, draw_shape)
        for s, m in zip(shorts, malignant, strict=True)
    ]
    return list(_groups(rng, nodes))


def form_of(
    canvas: Canvas, node: Node, place: NDArray[np.float64]
) -> tuple[Slices, Floats, list[Floats]] | None:
    """Return box, form (1 on the surface, 0 in the middle) and the node's own coordinates."""
    grid = canvas.grid
    reach = node.shape.reach_mm / np.asarray(grid.spacing) + 1
    low = np.clip(np.floor(place - reach).astype(int), 0, None)
    high = np.minimum(np.ceil(place + reach).astype(int) + 1, grid.shape)
    if (high <= low).any():
        return None
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    # World offsets: x along width, y along height, z along depth.
    d, h, w = (
        ((axis - p) * s).astype(np.float32)
        for axis, p, s in zip(np.ogrid[box], place, grid.spacing, strict=True)
    )
    return box, *node.shape.form((w, h, d), node.short_mm)


def _draw_node(
    rng: np.random.Generator, short: float, malignant: bool, contrast: float, draw_shape: DrawShape
) -> Node:
    shape = draw_shape(rng, short)
    benign_suv = float(np.clip(0.9 * np.exp(rng.normal(0, 0.3)), 0.4, 2.0))
    suv = malignant_suv(rng, short)
    return Node(
        short_mm=short,
        shape=shape,
        malignant=malignant,
        suv=suv if malignant else benign_suv,
        hu=float(rng.normal(42, 7) + contrast * rng.uniform(0.3, 0.6)),
        hilum=bool(rng.random() < 0.35) and not malignant and short > 6,
    )


def _groups(rng: np.random.Generator, nodes: list[Node]) -> Iterator[list[Node]]:
    """Yield single nodes and clusters of two to four of one kind; malignant ones may merge."""
    for kind in (True, False):
        left = [node for node in nodes if node.malignant == kind]
        while left:
            size = int(rng.integers(2, 5)) if rng.random() < 0.3 else 1
            merge = kind and rng.random() < 0.5
            group = [left[0], *(replace(node, confluent=merge) for node in left[1:size])]
            left = left[size:]
            yield group
