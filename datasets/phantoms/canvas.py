"""The canvas of a phantom: atlas coordinates, what is painted so far, and shapes to paint.

A phantom is drawn in the coordinates of one atlas adult, `(x, y, z)` in mm towards right, anterior
and superior. `Canvas.x, y, z` say for every voxel where in the atlas it lies, bent by smooth random
fields, so that the same atlas gives another body for each patient. Edges are soft over one voxel
(partial volume).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Grid, Points, Triple, nearest_index

Floats = np.ndarray
"""float32 arrays."""
Value = float | Floats
Slices = tuple[slice, slice, slice]
Knots = tuple[tuple[float, ...], ...]
"""Rows of a polyline or profile: what each column means stands where it is used."""

_BEND_MM = 7.0
"""Amplitude (standard deviation 1/2 of it) of the bending, in atlas mm."""


class Tissue(IntEnum):
    """What a voxel is, for later painters to respect."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    LUNG = 4
    VESSEL = 5
    ORGAN = 6
    AIRWAY = 7
    SKIN = 8
    NODE = 9


class Region(NamedTuple):
    """A painted shape: the box it lies in, and the fraction of each voxel that it fills."""

    box: Slices
    share: Floats


def smooth_field(rng: np.random.Generator, grid: Grid, length_mm: float) -> Floats:
    """Return a smooth random field `[D, H, W]`, standard deviation about 1.

    White noise on a lattice, up-sampled by cubic B-splines as one matrix product per axis.

    Args:
        rng: Source of the noise.
        grid: Where to evaluate it.
        length_mm: Spacing of the lattice, about the size of a bump.
    """
    weights = [_spline(n * s, n, length_mm) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    coarse = rng.standard_normal([w.shape[1] for w in weights]).astype(np.float32)
    across = np.matmul(weights[1], np.matmul(coarse, weights[2].T))
    flat = weights[0] @ across.reshape(len(across), -1)
    # The squares of the spline's weights sum to 0.479 per axis on average.
    return flat.reshape(grid.shape) * np.float32(0.479**-1.5)


class Canvas:
    """What is drawn so far of one patient.

    Attributes:
        grid: CT grid; world = atlas times `scale`, plus the bending.
        scale: mm of this patient per mm of the atlas.
        x, y, z: Atlas coordinates of each voxel, float32 `[D, H, W]`.
        slices: Atlas z of each slice without the bending, `[D, 1, 1]`.
        soft: Size of a voxel in atlas mm, the width of an edge.
        hu, suv: Painted values.
        tissue: `Tissue` of each voxel, uint8.
    """

    def __init__(self, grid: Grid, scale: float, rng: np.random.Generator) -> None:
        self.grid, self.scale = grid, scale
        axes = [
            np.asarray((grid.affine[row, 3] + grid.spacing[axis] * np.arange(n)) / scale, "f4")
            for axis, (row, n) in enumerate(zip((2, 1, 0), grid.shape, strict=True))
        ]
        self._axes = axes
        self.slices = axes[0][:, None, None]
        bend = [smooth_field(rng, grid, 75 * scale) * np.float32(_BEND_MM / 2) for _ in range(3)]
        self.z = axes[0][:, None, None] + bend[0]
        self.y = axes[1][None, :, None] + bend[1]
        self.x = axes[2][None, None, :] + bend[2]
        self.soft = float(np.mean(grid.spacing)) / scale
        self.hu = np.full(grid.shape, -1000, np.float32)
        self.suv = np.zeros(grid.shape, np.float32)
        self.tissue = np.zeros(grid.shape, np.uint8)

    def box(self, low: Points, high: Points) -> Slices | None:
        """Return the voxels that may lie between two atlas corners `(x, y, z)`, or nothing."""
        margin = 2 * _BEND_MM + self.soft
        found = []
        for axis, lo, hi in zip(self._axes, low[::-1], high[::-1], strict=True):
            start = int(np.searchsorted(axis, lo - margin))
            stop = int(np.searchsorted(axis, hi + margin))
            if stop <= start:
                return None
            found.append(slice(start, stop))
        return found[0], found[1], found[2]

    def edge(self, distance: Floats) -> Floats:
        """Return the fraction of each voxel inside a surface; `distance` is negative inside."""
        return np.clip(0.5 - distance / np.float32(self.soft), 0, 1)

    def ellipsoid(
        self, centre: Triple, radii: Triple, turn: NDArray[np.float64] | None = None
    ) -> Region | None:
        """Return an ellipsoid; the rows of `turn` are the directions of its axes."""
        reach = np.full(3, max(radii)) if turn is not None else np.asarray(radii)
        box = self.box(np.asarray(centre) - reach, np.asarray(centre) + reach)
        if box is None:
            return None
        parts = [
            a[box] - np.float32(c) for a, c in zip((self.x, self.y, self.z), centre, strict=True)
        ]
        if turn is not None:
            parts = [
                sum(np.float32(t) * p for t, p in zip(row, parts, strict=True)) for row in turn
            ]
        length = np.sqrt(sum((p / np.float32(r)) ** 2 for p, r in zip(parts, radii, strict=True)))
        return Region(box, self.edge((length - 1) * np.float32(min(radii))))

    def capsule(self, start: Points, end: Points, r0: float, r1: float) -> Region | None:
        """Return a rod with round ends whose radius goes from `r0` to `r1`."""
        reach = max(r0, r1)
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        box = self.box(low, high)
        if box is None:
            return None
        along = np.subtract(end, start).astype(np.float32)
        px, py, pz = (
            a[box] - np.float32(s) for a, s in zip((self.x, self.y, self.z), start, strict=True)
        )
        t = (px * along[0] + py * along[1] + pz * along[2]) / np.float32(along @ along + 1e-6)
        t = np.clip(t, 0, 1)
        distance = np.sqrt(
            (px - t * along[0]) ** 2 + (py - t * along[1]) ** 2 + (pz - t * along[2]) ** 2
        )
        return Region(box, self.edge(distance - (np.float32(r0) + t * np.float32(r1 - r0))))

    def paint(
        self,
        region: Region | None,
        hu: Value | None,
        suv: Value | None,
        tissue: Tissue | None,
        only: Sequence[Tissue] | None = None,
    ) -> None:
        """Lay a region over what is there.

        Args:
            region: Where; nothing is painted for `None`.
            hu: Value or values `[box]`; `None` leaves the CT as it is.
            suv: The same for the activity.
            tissue: Mark of voxels that are at least half filled; `None` leaves the mark.
            only: Paint over these tissues only.
        """
        if region is None:
            return
        share = region.share
        if only is not None:
            share = share * _table(only)[self.tissue[region.box]]
        for target, value in ((self.hu, hu), (self.suv, suv)):
            if value is not None:
                part = target[region.box]
                part += share * (value - part)
        if tissue is not None:
            self.tissue[region.box][share >= 0.5] = tissue

    def tube(
        self,
        knots: Knots,
        hu: float,
        suv: float,
        tissue: Tissue,
        *,
        mirror: bool = False,
        grow: float = 0.0,
        only: Sequence[Tissue] | None = None,
    ) -> None:
        """Paint a chain of rods through rows `(x, y, z, radius)`, on both sides if `mirror`."""
        for side in (1, -1) if mirror else (1,):
            for start, end in pairwise(knots):
                a, b = (side * start[0], *start[1:3]), (side * end[0], *end[1:3])
                region = self.capsule(a, b, start[3] + grow, end[3] + grow)
                self.paint(region, hu, suv, tissue, only)

    def index_of(self, place: Triple) -> NDArray[np.float64]:
        """Return the index (fractional, maybe outside) of an atlas place, bending included."""
        target = np.asarray(place, float)
        guess = target.copy()
        for _ in range(4):
            index = self.grid.to_index(guess * self.scale)
            nearest = tuple(np.clip(nearest_index(index), 0, np.subtract(self.grid.shape, 1)))
            here = np.array([self.x[nearest], self.y[nearest], self.z[nearest]], float)
            flat = np.array([axis[i] for axis, i in zip(self._axes, nearest, strict=True)])[::-1]
            guess = target - (here - flat)
        return self.grid.to_index(guess * self.scale)

    def in_view(self, index: NDArray[np.float64], margin_mm: float = 6.0) -> bool:
        """Say whether a place lies inside the CT, away from its border."""
        margin = margin_mm / np.asarray(self.grid.spacing)
        return bool(
            (index >= margin).all() and (index <= np.subtract(self.grid.shape, 1) - margin).all()
        )


def profile(knots: Knots, at: Floats) -> list[Floats]:
    """Interpolate each column of rows `(z, a, b, ...)` at heights `at`."""
    table = np.asarray(knots, float)
    order = np.argsort(table[:, 0])
    table = table[order]
    return [np.interp(at, table[:, 0], column).astype(np.float32) for column in table.T[1:]]


def turn_about_z(degrees: float) -> NDArray[np.float64]:
    """Return the directions of axes that are turned about the long axis of the body."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def _spline(extent: float, count: int, length: float) -> Floats:
    """Return the cubic B-spline weights `[count, lattice]` of voxel centres along one axis."""
    lattice = int(np.ceil(extent / length)) + 4
    place = (np.arange(count) + 0.5) * extent / count / length + 1.5
    t = np.abs(place[:, None] - np.arange(lattice))
    near = 2 / 3 - t**2 + t**3 / 2
    far = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, near, far).astype(np.float32)


def _table(tissues: Sequence[Tissue]) -> Floats:
    table = np.zeros(256, np.float32)
    table[list(tissues)] = 1
    return table
