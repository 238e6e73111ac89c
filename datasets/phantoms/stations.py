"""Where nodes lie: named stations of the atlas, and the search for room near one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hilum.core.geometry import Triple

from .canvas import Canvas, Floats, Tissue

MEDIAN_MM, SIGMA = 9.5, 0.45
"""Median short axis of nodes, and the standard deviation of its log."""


class Station(NamedTuple):
    """A place where nodes lie.

    Attributes:
        centre: Atlas mm.
        spread: How far nodes scatter around it along x, y, z, atlas mm.
        weight: How often it has a node, relative to the others.
        size: Median short axis of its nodes over that of all.
    """

    centre: Triple
    spread: Triple
    weight: float
    size: float = 1.0

    def weight_of(self, short_mm: float) -> float:
        """Return how often it has a node of this size, by Bayes' rule for log-normal sizes."""
        log, shift = np.log(short_mm / MEDIAN_MM), np.log(self.size)
        return self.weight * float(np.exp((log**2 - (log - shift) ** 2) / (2 * SIGMA**2)))


# The right one of each pair. Neck: levels of Robbins 2008; chest: IASLC map (Rusch 2009).
_PAIRS: dict[str, Station] = {
    "neck_I": Station((26, 44, 745), (8, 8, 6), 0.8),
    "neck_II": Station((40, 14, 738), (7, 8, 14), 1.4),
    "neck_III": Station((36, 12, 712), (7, 8, 12), 1.2),
    "neck_IV": Station((36, 18, 688), (7, 8, 10), 1.0),
    "neck_V": Station((52, -14, 704), (6, 12, 16), 0.8),
    "supraclavicular": Station((64, 16, 662), (16, 12, 8), 1.6),
    "axillary": Station((116, 8, 602), (12, 16, 26), 2.2),
    "internal_mammary": Station((28, 68, 580), (5, 4, 25), 0.3),
    "2": Station((16, 0, 618), (7, 8, 10), 0.9),
    "4": Station((24, -6, 580), (7, 9, 9), 1.4),
    "hilar_10": Station((44, -6, 538), (9, 10, 16), 1.6),
    "para_aortic": Station((22, -20, 265), (8, 8, 32), 1.5),
    "common_iliac": Station((36, -4, 172), (8, 8, 18), 0.8),
    "external_iliac": Station((70, 30, 84), (8, 9, 22), 0.8),
    "inguinal": Station((82, 56, 24), (11, 8, 16), 1.4),
}
_SINGLE: dict[str, Station] = {
    "3a": Station((2, 46, 590), (16, 8, 16), 0.9),
    "5": Station((-34, 6, 575), (7, 8, 8), 0.8),
    "7": Station((4, -18, 538), (11, 8, 9), 1.4),
    "8": Station((4, -30, 480), (11, 6, 20), 0.6),
    "retrocrural": Station((4, -34, 402), (10, 5, 10), 0.4),
    "portal": Station((28, 14, 350), (10, 8, 10), 0.8),
    "coeliac": Station((-12, 4, 362), (12, 9, 9), 0.9),
    "mesenteric": Station((-8, 28, 250), (30, 14, 32), 1.4),
}


def mirrored(name: str, right: Station) -> dict[str, Station]:
    """Return the stations of both sides under their names."""
    x, y, z = right.centre
    marks = ("R", "L") if name[-1].isdigit() else ("_right", "_left")
    return {name + marks[0]: right, name + marks[1]: right._replace(centre=(-x, y, z))}


STATIONS: dict[str, Station] = {
    **{key: one for name, right in _PAIRS.items() for key, one in mirrored(name, right).items()},
    **_SINGLE,
}


class Room:
    """How much free tissue lies around each place; it shrinks as it is taken.

    Kept at about 4 mm, since it only guides the search.

    Args:
        canvas: The painted patient.
        worth: Value of each tissue, 0 to 1; all others count as taken.
    """

    def __init__(self, canvas: Canvas, worth: dict[Tissue, float]) -> None:
        self.canvas = canvas
        self._step = tuple(max(1, round(4 / s)) for s in canvas.grid.spacing)
        a, b, c = self._step
        free = lookup(worth)[canvas.tissue[::a, ::b, ::c]]
        spacing = np.multiply(canvas.grid.spacing, self._step)
        # Means over boxes: their cost does not grow with their size.
        self._maps: list[Floats] = [
            ndimage.uniform_filter(
                free, np.maximum(np.round(side / spacing).astype(int), 1).tolist()
            )
            for side in (7.0, 16.0)
        ]
        self._spacing = spacing

    def find(
        self, station: Station, radius_mm: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the index (CT voxels) of a free place near a station that is in view."""
        middle = self.canvas.index_of(station.centre) / self._step
        spread = np.multiply(station.spread[::-1], self.canvas.scale) / self._spacing
        room = self._maps[int(radius_mm > 5)]
        low = np.clip(np.floor(middle - 2.2 * spread), 0, np.subtract(room.shape, 1)).astype(int)
        high = np.minimum(np.ceil(middle + 2.2 * spread).astype(int) + 1, room.shape)
        box = tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        parts = zip(axes, middle, spread, strict=True)
        far = sum(((axis - m) / s) ** 2 for axis, m, s in parts)
        score = 6 * room[box] - far / 2 + rng.gumbel(0, 0.35, room[box].shape)
        best = np.add(np.unravel_index(int(np.argmax(score)), score.shape), low)
        # Anywhere inside the coarse voxel.
        return best * self._step + rng.uniform(-0.5, 0.5, 3) * (np.asarray(self._step) - 1)

    def take(self, index: NDArray[np.float64], radius_mm: float) -> None:
        """Mark a ball as taken, with a gap around it."""
        middle = index / self._step
        for room, gap in zip(self._maps, (3.0, 6.0), strict=True):
            reach = (radius_mm + 2 * gap) / self._spacing
            low = np.clip(np.floor(middle - reach).astype(int), 0, None)
            high = np.minimum(np.ceil(middle + reach).astype(int) + 1, room.shape)
            if (high <= low).any():
                continue
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            parts = zip(np.ogrid[box], middle, self._spacing, strict=True)
            far = np.sqrt(sum(((axis - m) * s) ** 2 for axis, m, s in parts))
            room[box] *= np.clip((far - radius_mm) / gap, 0, 1).astype(np.float32)


def stations_in_view(
    canvas: Canvas, stations: Mapping[str, Station] = STATIONS
) -> dict[str, Station]:
    """Return the stations whose middle lies in the field of view."""
    return {k: v for k, v in stations.items() if canvas.in_view(canvas.index_of(v.centre))}


def lookup(worth: dict[Tissue, float]) -> Floats:
    """Return a table from tissue to its worth, 0 for those not named."""
    table = np.zeros(256, np.float32)
    table[list(worth)] = list(worth.values())
    return table
