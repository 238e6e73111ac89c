"""Estimate how far a PET lies off its CT, from where both see body, lung and air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from hilum.core.geometry import Grid, Triple

from ..io.nifti import Volume
from ..io.resampling import field_of_view, resample

COARSE_MM = 5.0
REACH_MM = 40.0
LEAST_OVERLAP = 0.3
"""Share of the smaller scan that must lie in the other for an estimate."""
LEAST_SCORE = 0.6
"""Correlation below which the scans do not show the same body, or not enough of it."""
LEAST_DROP = 0.004
"""Loss of correlation by one coarse voxel that an axis needs to be told."""


@dataclass(frozen=True)
class Misalignment:
    """How far the second scan must be moved to lie on the first.

    Attributes:
        shift_mm: Right, anterior, superior; 0 along an axis that the scans do not tell.
        known: Which of these axes they tell: a trunk cut at both ends says little of its length.
        score: Correlation at the best place, -1 to 1.
        score_before: Correlation as the scans lie.
    """

    shift_mm: Triple
    known: tuple[bool, bool, bool]
    score: float
    score_before: float

    @property
    def distance_mm(self) -> float:
        """Length of the shift."""
        return float(np.linalg.norm(self.shift_mm))


def misalignment(ct: Volume, pet: Volume) -> Misalignment | None:
    """Return the translation that brings a PET onto its CT, or nothing if it cannot be told.

    Both become maps of how much tissue there is: HU from air to water, SUV up to 1, so that uptake
    beyond that of tissue does not count. The normalised correlation of the two, over what both see,
    is found for every shift up to 40 mm at once (by Fourier transforms), and its peak to a fraction
    of a voxel by a parabola along each axis. Symmetric blur of the PET does not move the peak;
    breathing moves parts of the body and gives a mean.

    Args:
        ct: In HU.
        pet: In SUV.
    """
    share = max(ct.grid.overlap(pet.grid), pet.grid.overlap(ct.grid))
    if share < LEAST_OVERLAP:
        return None
    canonical, _, _ = ct.grid.canonical()
    grid = canonical.with_spacing((COARSE_MM, COARSE_MM, COARSE_MM))
    if min(grid.shape) < 4:
        return None
    fixed = np.clip((resample(ct.array, ct.grid, grid, fill=-1000) + 1000) / 1000, 0, 1)
    moving = np.clip(resample(pet.array, pet.grid, grid), 0, 1)
    seen = [field_of_view(volume.grid, grid).astype(np.float64) for volume in (ct, pet)]
    reach = [min(int(REACH_MM / COARSE_MM), n // 3) for n in grid.shape]
    score = _correlation(fixed, moving, seen[0], seen[1], reach)
    peak = np.unravel_index(int(np.argmax(score)), score.shape)
    at, drops = _refined(score, [int(p) for p in peak])
    steps = np.array(at) - reach
    known = drops > LEAST_DROP
    best, before = float(score[peak]), float(score[tuple(reach)])
    if best < LEAST_SCORE or not known.any():
        return None
    # Depth is superior, height anterior, width right; the moving scan moves by the step.
    d, h, w = np.where(known, steps * COARSE_MM, 0.0).tolist()
    return Misalignment((w, h, d), (bool(known[2]), bool(known[1]), bool(known[0])), best, before)


def shifted(volume: Volume, shift_mm: Triple) -> Volume:
    """Return a volume moved in the patient by so many mm to the right, front and head."""
    affine = volume.grid.affine.copy()
    affine[:3, 3] += shift_mm
    return Volume(volume.array, Grid(volume.grid.shape, affine))


def _correlation(
    fixed: np.ndarray,
    moving: np.ndarray,
    fixed_seen: np.ndarray,
    moving_seen: np.ndarray,
    reach: list[int],
) -> NDArray[np.float64]:
    """Return the correlation coefficient over the common field for every shift up to `reach`.

    Source:
        Padfield, "Masked Object Registration in the Fourier Domain", IEEE TIP 2012, equation 10.
    """
    a, b = fixed * fixed_seen, moving * moving_seen

    def sums(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        whole = signal.fftconvolve(one, two[::-1, ::-1, ::-1])
        middle = [n - 1 for n in two.shape]
        part = tuple(slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
        return whole[part]

    count = np.maximum(sums(fixed_seen, moving_seen), 1.0)
    sum_a, sum_b = sums(a, moving_seen), sums(fixed_seen, b)
    covariance = sums(a, b) - sum_a * sum_b / count
    spread_a = sums(a * a, moving_seen) - sum_a**2 / count
    spread_b = sums(fixed_seen, b * b) - sum_b**2 / count
    score = covariance / np.sqrt(np.maximum(spread_a * spread_b, 1e-9))
    # Where next to nothing is left in common, a high value is chance.
    return np.where(count > 0.5 * count.max(), score, -1.0)


def _refined(
    score: NDArray[np.float64], peak: list[int]
) -> tuple[list[float], NDArray[np.float64]]:
    """Return the peak to a fraction of a voxel, and the loss by one voxel along each axis."""
    found, drops = [], []
    for axis, index in enumerate(peak):
        if not 0 < index < score.shape[axis] - 1:
            found.append(float(index))
            drops.append(0.0)
            continue
        line = [score[(*peak[:axis], index + k, *peak[axis + 1 :])] for k in (-1, 0, 1)]
        bend = line[0] - 2 * line[1] + line[2]
        step = 0.5 * (line[0] - line[2]) / bend if bend < 0 else 0.0
        found.append(index + float(np.clip(step, -0.5, 0.5)))
        drops.append(float(line[1] - (line[0] + line[2]) / 2))
    return found, np.array(drops)
