"""What a shape of a node is, and the first edition's: an ellipsoid with bumps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .canvas import Floats

Offsets = tuple[Floats, Floats, Floats]
"""World offsets from the middle in mm, `(x, y, z)`, each of a shape that broadcasts."""


class Shape(ABC):
    """A closed surface around a middle. Subclasses are final.

    Attributes:
        axes_mm: Three axes: short, long, along the body, or as the subclass says.
    """

    axes_mm: NDArray[np.float64]

    @property
    @abstractmethod
    def reach_mm(self) -> float:
        """Distance from the middle beyond which nothing lies."""

    @abstractmethod
    def form(self, offsets: Offsets, short_mm: float) -> tuple[Floats, list[Floats]]:
        """Return the form (1 on the surface, less inside) and the place in half axes.

        Args:
            offsets: From the middle.
            short_mm: Short axis; `(form - 1) * short_mm / 2` is about the distance to the surface.
        """


DrawShape = Callable[[np.random.Generator, float], Shape]
"""Draws a shape of a short axis in mm."""


@dataclass(frozen=True, eq=False)
class Bumpy(Shape):
    """An ellipsoid with four smooth bumps. Final.

    Attributes:
        axes_mm: Short and long axis of the axial plane, and the one along the body.
        turn: 3 x 3, rows are the directions of the axes in RAS.
        bumps: Amplitude and direction `[4, 4]` of the deviations from an ellipsoid.
    """

    axes_mm: NDArray[np.float64]
    turn: NDArray[np.float64]
    bumps: NDArray[np.float64]

    @property
    def reach_mm(self) -> float:
        """Distance from the middle beyond which nothing lies."""
        return float(self.axes_mm.max()) * 0.65

    def form(self, offsets: Offsets, short_mm: float) -> tuple[Floats, list[Floats]]:
        """Return the length in half axes over the radius of the bumps, and the place."""
        w, h, d = offsets
        own = [
            (row[0] * w + row[1] * h + row[2] * d) / np.float32(axis / 2)
            for row, axis in zip(self.turn.astype("f4"), self.axes_mm, strict=True)
        ]
        length = np.sqrt(own[0] ** 2 + own[1] ** 2 + own[2] ** 2)
        safe = np.maximum(length, 1e-3)
        radius = np.ones_like(length)
        for size, *way in self.bumps.astype("f4"):
            cosine = (own[0] * way[0] + own[1] * way[1] + own[2] * way[2]) / safe
            radius += size * (cosine**3 + cosine**2 - np.float32(1 / 3))
        return length / radius, own


def draw_bumpy(rng: np.random.Generator, short_mm: float) -> Bumpy:
    """Draw axes, direction and bumps of a node with this short axis."""
    axes = short_mm * np.array([1.0, rng.uniform(1.1, 1.7), rng.uniform(1.0, 1.7)])
    # Any direction in the axial plane, a slight tilt out of it.
    angles = (rng.uniform(0, 360), rng.normal(0, 12), rng.normal(0, 12))
    turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix().T
    bumps = np.column_stack([rng.normal(0, 0.05, 4), directions(rng, 4)])
    return Bumpy(axes, turn, bumps)


def directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw unit vectors `[count, 3]`, evenly over the sphere."""
    ways = rng.normal(0, 1, (count, 3))
    return ways / np.linalg.norm(ways, axis=1, keepdims=True)
