"""A grid says where each voxel of an array lies in the patient.

One convention everywhere inside hilum: an array is indexed `[depth, height, width]`, world
coordinates are RAS in millimetres (right, anterior, superior), and `affine` maps an index
`(d, h, w, 1)` to the world. NIfTI stores arrays the other way round; `datasets.io.nifti` converts
at the border and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]
IntTriple = tuple[int, int, int]
Points = np.ndarray | Sequence[float] | Sequence[int]
"""One point or an array `[..., 3]` of points."""
TOLERANCE_MM = 0.1
"""How far voxels of two files may lie apart and still count as one lattice, at every door.

Headers round: a spacing at its fourth decimal is 0.03 mm over 512 voxels. A tenth of a millimetre
moves no voxel of a scan.
"""
HALF = 1e-4
"""Positions this near below a half, in voxels, count as it: they come from rounded numbers."""


def nearest_index(position: np.ndarray | Sequence[float] | float) -> NDArray[np.int64]:
    """Return the index whose voxel holds each position; halves go up.

    A voxel owns the half-open interval from `i - 0.5` to `i + 0.5`, so that positions a voxel apart
    never share one. This is the only rule: `round` takes halves to even numbers, which fills every
    second slice where contours lie half a slice off.

    Examples:
        >>> nearest_index([0.5, 1.5, 2.5, -0.5, 2.49]).tolist()
        [1, 2, 3, 0, 2]
    """
    return np.asarray(np.floor(np.asarray(position, float) + (0.5 + HALF)), np.int64)


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and position of an array in the patient.

    Attributes:
        shape: Voxels along depth, height and width.
        affine: 4 x 4, from index `(d, h, w, 1)` to RAS millimetres.
    """

    shape: IntTriple
    affine: NDArray[np.float64]

    @cached_property
    def spacing(self) -> Triple:
        """Distance between neighbouring voxel centres along each axis, in mm."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def extent_mm(self) -> Triple:
        """Side lengths of the box that the voxels fill, in mm."""
        d, h, w = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return d, h, w

    def to_world(self, index: Points) -> NDArray[np.float64]:
        """Map indices, shape `[..., 3]`, to RAS millimetres."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: Points) -> NDArray[np.float64]:
        """Map RAS millimetres, shape `[..., 3]`, to (fractional) indices."""
        offset = np.asarray(world, float) - self.affine[:3, 3]
        return offset @ np.linalg.inv(self.affine[:3, :3]).T

    def index_map(self, other: Grid) -> NDArray[np.float64]:
        """Return the 4 x 4 matrix from an index of this grid to an index of `other`."""
        return np.linalg.inv(other.affine) @ self.affine

    def crop(self, start: IntTriple, shape: IntTriple) -> Grid:
        """Return the grid of the box that begins at index `start`, which may lie outside."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        return Grid(shape, affine)

    def with_spacing(self, spacing: Triple) -> Grid:
        """Return a grid over the same box with other spacing; sides are whole voxels, halves up."""
        factor = np.asarray(spacing) / self.spacing
        shape = np.maximum(nearest_index(np.asarray(self.shape) / factor), 1)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * factor
        # The centre of the box stays where it is.
        middle = self.to_world((np.asarray(self.shape) - 1) / 2)
        affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def canonical(self) -> tuple[Grid, IntTriple, tuple[bool, bool, bool]]:
        """Return this grid with depth towards superior, height anterior, width right.

        Only axes are swapped and flipped; an oblique grid stays oblique.

        Returns:
            The new grid, the axes to give to `numpy.transpose`, and which of the *new* axes to
            flip afterwards.
        """
        direction = self.affine[:3, :3] / self.spacing
        axes = _closest_axes(direction)
        flips = tuple(
            bool(direction[row, axis] < 0) for row, axis in zip((2, 1, 0), axes, strict=True)
        )
        affine = self.affine.copy()
        affine[:, :3] = self.affine[:, list(axes)]
        shape = tuple(self.shape[axis] for axis in axes)
        for column, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, column] * (shape[column] - 1)
                affine[:3, column] *= -1
        return Grid(shape, affine), axes, flips  # pyright: ignore[reportArgumentType, reportReturnType]

    def same_as(self, other: Grid, tolerance_mm: float = TOLERANCE_MM) -> bool:
        """Say whether both grids put every voxel at the same place, to within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = _corners(self.shape)
        distance = np.abs(self.to_world(corners) - other.to_world(corners))
        return bool(distance.max() <= tolerance_mm)

    def overlap(self, other: Grid) -> float:
        """Return the fraction of this grid's box, as a fraction, that lies inside `other`'s.

        Counted at the middles of 16^3 equal parts of this grid's box.
        """
        steps = [(np.arange(16) + 0.5) * n / 16 - 0.5 for n in self.shape]
        lattice = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
        index = other.to_index(self.to_world(lattice))
        inside = (index >= -0.5) & (index <= np.asarray(other.shape) - 0.5)
        return float(inside.all(1).mean())

    def as_json(self) -> dict[str, object]:
        """Return a plain description that `from_json` reads back."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @staticmethod
    def from_json(value: dict[str, object]) -> Grid:
        """Read what `as_json` wrote."""
        d, h, w = np.asarray(value["shape"], int).tolist()
        return Grid((d, h, w), np.asarray(value["affine"], float))

    @staticmethod
    def from_spacing(shape: IntTriple, spacing: Triple, origin: Triple = (0, 0, 0)) -> Grid:
        """Return an axis-aligned canonical grid; `origin` is the world place of voxel 0 (RAS)."""
        affine = np.eye(4)
        affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
        affine[:3, 3] = origin
        return Grid(shape, affine)


@dataclass(frozen=True)
class LatticeMatch:
    """How the voxels of one grid lie on those of another.

    Attributes:
        kind: `equal`: voxel by voxel; `turned`: the same voxels in another order of axes or
            direction; `offset`: the same lattice, another box (a sub-box, a row more), whatever
            the order of its axes; `apart`: the same lattice, but not one voxel in common;
            `differs`: another lattice.
        distance_mm: Largest distance between voxel centres that should coincide, over the corners
            of the second grid.
        axes: For `numpy.transpose` of the second array.
        flips: Which of the new axes to flip then.
        start: Index in the first grid of the first voxel of the second, once turned; may be
            negative.
        shape: Sides of the second array, once turned.
    """

    kind: Literal["equal", "turned", "offset", "apart", "differs"]
    distance_mm: float
    axes: IntTriple
    flips: tuple[bool, bool, bool]
    start: IntTriple
    shape: IntTriple

    @property
    def same_lattice(self) -> bool:
        """Whether voxels coincide and some are common, so that no value needs resampling."""
        return self.kind in ("equal", "turned", "offset")


def lattice_match(first: Grid, second: Grid, tolerance_mm: float = TOLERANCE_MM) -> LatticeMatch:
    """Return how the voxels of `second` lie on the lattice of `first`.

    Args:
        first: Usually of a scan.
        second: Usually of its mask.
        tolerance_mm: Largest distance of voxel centres that count as one.

    Examples:
        >>> scan = Grid.from_spacing((8, 16, 16), (3, 1, 1))
        >>> found = lattice_match(scan, scan.crop((0, -1, 0), (8, 17, 16)))
        >>> found.kind, found.start
        ('offset', (0, -1, 0))
    """
    matrix = second.index_map(first)
    steps = matrix[:3, :3]
    # Row r of the first follows column axes[r] of the second.
    axes = _strongest(steps)
    signs = np.sign([steps[row, axis] for row, axis in enumerate(axes)])
    straight = np.zeros((3, 3))
    straight[np.arange(3), axes] = signs
    middle = (np.asarray(second.shape) - 1) / 2
    shift = nearest_index(steps @ middle + matrix[:3, 3] - straight @ middle)
    corners = _corners(second.shape)
    ideal = corners @ straight.T + shift
    distance = np.linalg.norm(second.to_world(corners) - first.to_world(ideal), axis=-1).max()
    sides = tuple(second.shape[axis] for axis in axes)
    start = tuple(int(n) for n in np.round(ideal.min(0)))
    flips = tuple(bool(sign < 0) for sign in signs)
    common = all(s < n and s + m > 0 for s, m, n in zip(start, sides, first.shape, strict=True))
    if distance > tolerance_mm:
        kind = "differs"
    elif not common:
        kind = "apart"
    elif start != (0, 0, 0) or sides != first.shape:
        kind = "offset"
    else:
        kind = "turned" if axes != (0, 1, 2) or any(flips) else "equal"
    return LatticeMatch(kind, float(distance), axes, flips, start, sides)  # pyright: ignore[reportArgumentType]


def _strongest(steps: NDArray[np.float64]) -> IntTriple:
    """Return for each row of a matrix the column of its largest entry, each column once."""
    strength = np.abs(steps).copy()
    found = [0, 0, 0]
    for _ in range(3):
        row, column = np.unravel_index(np.argmax(strength), (3, 3))
        found[int(row)] = int(column)
        strength[row, :] = strength[:, column] = -1
    return found[0], found[1], found[2]


def _closest_axes(direction: NDArray[np.float64]) -> IntTriple:
    """Return for superior, anterior and right the array axis that runs closest to it."""
    right, anterior, superior = _strongest(direction)
    return superior, anterior, right


def _corners(shape: IntTriple) -> NDArray[np.float64]:
    d, h, w = (np.array([0, n - 1]) for n in shape)
    return np.stack(np.meshgrid(d, h, w, indexing="ij"), -1).reshape(-1, 3).astype(float)
