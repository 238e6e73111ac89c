"""Accept a registration if it is plausible and better than noise, else keep the scanner's frame.

An optimiser always returns something. On hybrid scanners CT and PET lie together to a few
millimetres, and mutual information has optima that far off, each time the same: a higher value
proves nothing. So a move has to be small enough, found again from other starts, and must bring the
outlines of the two bodies together by more than small random moves of the scan do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.seeds import numpy_generator

from ..io.nifti import Volume
from ..io.resampling import field_of_view, resample

COARSE_MM = 5.0
STARTS, START_MM, START_DEGREES = 3, 10.0, 3.0
NULL_MOVES, NULL_MM, NULL_DEGREES = 12, 3.0, 1.0
AGAIN_MM = 5.0
"""How far other starts may end away at the median, at the corners of the scan."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What a plausible move is.

    Attributes:
        mm: Longest translation of the scan's middle.
        degrees: Largest rotation.
        gain: Smallest gain of the agreement of the bodies' outlines (correlation) over the best of
            the small random moves.
    """

    mm: float
    degrees: float
    gain: float


@dataclass(frozen=True)
class Agreement:
    """How well two scans show the same body, by their outlines: air, lung and tissue.

    Attributes:
        fixed: Tissue of the fixed scan on a coarse grid, 0 to 1.
        seen: Where it was scanned.
        grid: The coarse grid.
        moving: The other scan.
        tissue: Its tissue, 0 to 1, on its own grid.
    """

    fixed: np.ndarray
    seen: np.ndarray
    grid: Grid
    moving: Volume

    @staticmethod
    def of(fixed: Volume, moving: Volume, names: tuple[str, str]) -> Agreement:
        """Prepare both scans; `names` are their modalities."""
        grid = fixed.grid.canonical()[0].with_spacing((COARSE_MM, COARSE_MM, COARSE_MM))
        one = _tissue(fixed.array, names[0])
        two = Volume(_tissue(moving.array, names[1]), moving.grid)
        tissue = resample(one, fixed.grid, grid)
        return Agreement(tissue, field_of_view(fixed.grid, grid), grid, two)

    def __call__(self, matrix: Matrix) -> float:
        """Return the correlation over what both scans see, with the second moved."""
        own = Grid(self.moving.grid.shape, matrix @ self.moving.grid.affine)
        seen = self.seen & field_of_view(own, self.grid)
        if seen.mean() < 0.1:
            return -1.0
        one, two = self.fixed[seen], resample(self.moving.array, own, self.grid)[seen]
        spread = float(one.std() * two.std())
        return float(np.mean((one - one.mean()) * (two - two.mean())) / spread) if spread else -1.0


def doubt(
    matrix: Matrix,
    again: Callable[[Matrix], Matrix],
    agreement: Agreement,
    limits: Limits,
) -> tuple[str, str]:
    """Return why a registration is not to be believed, or nothing; and what was measured.

    The cheap questions come first.

    Args:
        matrix: From where the scan lay to where the optimiser moved it, RAS mm.
        again: Runs the optimiser from another start.
        agreement: Of the two scans.
        limits: Of a plausible move.
    """
    grid = agreement.moving.grid
    mm, degrees = size_of(matrix, grid)
    if mm > limits.mm or degrees > limits.degrees:
        return f"beyond {limits.mm:g} mm or {limits.degrees:g} degrees", ""
    generator = numpy_generator(0, "registration")
    here = np.eye(4)
    null = [
        agreement(random_move(generator, grid, NULL_MM, NULL_DEGREES)) for _ in range(NULL_MOVES)
    ]
    before, chance, after = agreement(here), max(agreement(here), *null), agreement(matrix)
    measured = f"agreement of the outlines {before:.3f} to {after:.3f}, by chance {chance:.3f}"
    if after < chance + limits.gain:
        return f"the outlines agree no better by {limits.gain:g}", measured
    ends = [again(random_move(generator, grid, START_MM, START_DEGREES)) for _ in range(STARTS)]
    off = float(np.median([_apart(matrix, end, grid) for end in ends]))
    measured += f", found again to {off:.1f} mm"
    return ("other starts end elsewhere" if off > AGAIN_MM else ""), measured


def size_of(matrix: Matrix, grid: Grid) -> tuple[float, float]:
    """Return by how many mm the middle of a scan moves, and by how many degrees it rotates."""
    middle = np.append(grid.to_world((np.array(grid.shape) - 1) / 2), 1)
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    moved = float(np.linalg.norm((matrix @ middle - middle)[:3]))
    return moved, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def random_move(generator: np.random.Generator, grid: Grid, mm: float, degrees: float) -> Matrix:
    """Return a rigid move about the middle of a scan, of normal translations and rotations."""
    from scipy.spatial.transform import Rotation

    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    rotation = Rotation.from_rotvec(generator.normal(0, degrees, 3), degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = middle + generator.normal(0, mm, 3) - rotation @ middle
    return matrix


def _apart(one: Matrix, two: Matrix, grid: Grid) -> float:
    """Return the largest distance between the corners of a scan after two moves."""
    ends = [(0, n - 1) for n in grid.shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)
    places = np.c_[grid.to_world(corners), np.ones(8)]
    return float(np.linalg.norm((places @ (one - two).T)[:, :3], axis=1).max())


def _tissue(array: np.ndarray, name: str) -> np.ndarray:
    """Return 0 in air to 1 in soft tissue: by HU, by SUV, else by a fifth of the scan's range."""
    unit = modality(name).unit
    if unit == "HU":
        return np.clip((array + 1000) / 1000, 0, 1).astype(np.float32)
    full = 0.8 if unit == "SUV" else max(float(np.percentile(array[::2, ::2, ::2], 99)) / 5, 1e-6)
    return np.clip(array / full, 0, 1).astype(np.float32)
