"""The scanners of the phantoms: from tissue and tracer to a CT and a PET.

PET: the tracer is moved by the known misregistration and blurred to the asked resolution while it
is brought onto the PET grid, counted (Poisson), and smoothed by the last part of the blur, so that
the noise is as coarse as in a reconstruction. CT: blur, correlated noise, whole HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from hilum.core.geometry import Grid, Triple

from .canvas import Floats

SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))
_FILTER = 0.5
"""Share of the resolution (FWHM) that is the smoothing after the counting."""


@dataclass(frozen=True)
class Scanner:
    """What a scanner does to a patient.

    Attributes:
        ct_spacing_factor: Factor on the CT spacing of the size preset, per axis.
        pet_spacing: mm along depth, height and width.
        fwhm_mm: Resolution of the PET.
        counts: Expected counts per SUV and ml before the smoothing.
        suv_bias: Factor on every SUV (calibration).
        suv_spread: Standard deviation of a factor per patient (dose, clock, weight).
        ct_noise: Standard deviation in HU in a middle-sized body.
        ct_blur_mm: Resolution of the CT, FWHM.
    """

    ct_spacing_factor: Triple
    pet_spacing: Triple
    fwhm_mm: float
    counts: float
    suv_bias: float
    suv_spread: float
    ct_noise: float
    ct_blur_mm: float


SCANNERS: dict[str, Scanner] = {
    "a": Scanner((1, 1, 1), (3.5, 4.0, 4.0), 6.0, 260, 1.0, 0.05, 13.0, 1.6),
    "b": Scanner((1.25, 1.1, 1.1), (3.0, 3.2, 3.2), 7.0, 220, 0.85, 0.08, 22.0, 2.4),
    "c": Scanner((0.8, 0.9, 0.9), (2.0, 2.1, 2.1), 4.6, 420, 1.06, 0.04, 18.0, 1.0),
    "d": Scanner((1.6, 1.15, 1.15), (5.0, 5.3, 5.3), 8.5, 150, 0.9, 0.08, 30.0, 3.2),
    "e": Scanner((1.0, 1.2, 1.2), (3.3, 2.7, 2.7), 5.6, 70, 1.12, 0.1, 24.0, 2.0),
}
"""c (digital, sharp kernel), d (old, no time of flight) and e (low dose) need edition 2."""


@dataclass(frozen=True)
class Misregistration:
    """Where the PET shows what lies elsewhere on the CT.

    A place `p` (RAS mm) of the CT is seen in the PET at `p + shift_mm + (0, 0, w(z) breathing_mm)`
    with `w(z) = exp(-((z - diaphragm_mm) / width_mm)^2 / 2)`: a rigid shift everywhere, and
    breathing along the body, strongest at the diaphragm. Exact, at every place.

    Attributes:
        shift_mm: Rigid part, right anterior superior.
        breathing_mm: Upward movement at the diaphragm; below a third of the width, so that
            tissue never folds.
        diaphragm_mm: World z of the diaphragm.
        width_mm: Standard deviation of the breathing along z.
    """

    shift_mm: Triple
    breathing_mm: float
    diaphragm_mm: float
    width_mm: float

    def at(self, world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vectors, RAS mm, at CT places `[..., 3]`."""
        weight = np.exp(-(((world[..., 2] - self.diaphragm_mm) / self.width_mm) ** 2) / 2)
        breathing = weight[..., None] * (0, 0, self.breathing_mm)
        return np.asarray(self.shift_mm) + breathing


def draw_misregistration(
    rng: np.random.Generator, scale_mm: float, diaphragm_mm: float, body_scale: float
) -> Misregistration:
    """Draw one: rigid part about half of `scale_mm` long, breathing about `scale_mm`.

    Both directions of breathing occur, since CT may be taken deeper or shallower than the mean
    breath that the PET shows.
    """
    direction = rng.normal(0, 1, 3)
    direction /= np.linalg.norm(direction)
    shift = direction * scale_mm * 0.5 * rng.uniform(0.6, 1.4)
    width = 75.0 * body_scale
    breathing = rng.choice((-1, 1)) * scale_mm * rng.uniform(0.6, 1.4)
    limit = width / 3
    x, y, z = map(float, shift)
    return Misregistration((x, y, z), float(np.clip(breathing, -limit, limit)), diaphragm_mm, width)


def pet_grid(ct: Grid, spacing: Triple) -> Grid:
    """Return the PET's own grid over the CT's box, not aligned with the CT's voxels."""
    grid = ct.with_spacing(spacing)
    affine = grid.affine.copy()
    affine[:3, 3] += (0.4, -0.3, 0.7)
    return Grid(grid.shape, affine)


def image_pet(
    tracer: Floats,
    ct: Grid,
    pet: Grid,
    move: Misregistration,
    scanner: Scanner,
    rng: np.random.Generator,
) -> Floats:
    """Return the PET of a tracer map.

    Args:
        tracer: True SUV on the CT grid, at CT places.
        ct: Grid of `tracer`.
        pet: Grid of the result.
        move: Misregistration.
        scanner: Resolution, counts and bias; `counts` of 0 or infinity leave the noise out.
        rng: Source of the counts and of the patient's calibration.
    """
    before, _ = blurs(scanner)
    return counted(blurred(tracer, ct, pet, move, before), pet, scanner, rng)


def blurs(scanner: Scanner) -> tuple[float, float]:
    """Return the standard deviations in mm of the blur before the counting and after it."""
    sigma = scanner.fwhm_mm * SIGMA_PER_FWHM
    after = sigma * _FILTER if 0 < scanner.counts < np.inf else 0.0
    return float(np.sqrt(sigma**2 - after**2)), after


def counted(
    seen: Floats,
    pet: Grid,
    scanner: Scanner,
    rng: np.random.Generator,
    sensitivity: Floats | None = None,
) -> Floats:
    """Return the PET after counting, smoothing and calibration.

    Args:
        seen: True SUV after the first blur, on the PET grid.
        pet: That grid.
        scanner: Resolution, counts and bias.
        rng: Source of the patient's calibration and of the counts.
        sensitivity: Factor on the expected counts that broadcasts to `seen`; 1 if not given.
    """
    _, after = blurs(scanner)
    factor = scanner.suv_bias * float(np.exp(rng.normal(0, scanner.suv_spread)))
    if 0 < scanner.counts < np.inf:
        per_suv = scanner.counts * pet.voxel_ml
        if sensitivity is not None:
            per_suv = np.asarray(per_suv * sensitivity, np.float32)
        counts = rng.poisson(seen * np.float32(per_suv))
        seen = (counts / per_suv).astype(np.float32)
        seen = discrete_gaussian(seen, [after / s for s in pet.spacing])
    return np.ascontiguousarray(seen * np.float32(factor), np.float32)


def blurred(tracer: Floats, ct: Grid, pet: Grid, move: Misregistration, sigma_mm: float) -> Floats:
    """Return the moved tracer, blurred by a Gaussian, on the PET grid: one product per axis.

    `sigma_mm` includes the PET's voxel, so it is at least the voxel's side over the root of 12.
    """
    result = tracer
    for axis, row in ((0, 2), (1, 1), (2, 0)):
        here = np.zeros((ct.shape[axis], 3))
        here[:, row] = ct.affine[row, 3] + ct.affine[row, axis] * np.arange(ct.shape[axis])
        there = pet.affine[row, 3] + pet.affine[row, axis] * np.arange(pet.shape[axis])
        places = here[:, row] + move.at(here)[:, row]
        # Tissue that the breathing stretches must count for the length that it fills.
        length = np.gradient(places)
        # A voxel is a mean over its width, which is a part of the resolution.
        half = abs(pet.affine[row, axis]) / 2
        narrow = np.sqrt(max(sigma_mm**2 - half**2 / 3, (0.2 * half) ** 2))
        away = there[:, None] - places
        upper = special.ndtr((away + half) / narrow)
        weights = (upper - special.ndtr((away - half) / narrow)) * length
        total = weights.sum(1, keepdims=True)
        weights = (weights / np.maximum(total, 1e-12)).astype(np.float32)
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return np.ascontiguousarray(result, np.float32)


def image_ct(hu: Floats, ct: Grid, scanner: Scanner, rng: np.random.Generator) -> Floats:
    """Return the CT: blurred, with correlated noise that grows with the body's thickness.

    Whole HU from -1024 to 3071, as a scanner writes them.
    """
    sigma = scanner.ct_blur_mm * SIGMA_PER_FWHM
    seen = discrete_gaussian(hu, [sigma / s for s in ct.spacing])
    noise = rng.standard_normal(ct.shape, np.float32)
    noise = discrete_gaussian(noise, (0.35, 0.65, 0.65))
    noise /= noise.std()
    # Water-equivalent thickness of each slice: noise is that of a 230 mm body at the preset.
    area = np.clip(hu / 1000 + 1, 0, 1.2).sum((1, 2)) * ct.spacing[1] * ct.spacing[2]
    thick = np.sqrt(area / np.median(area) + 1e-6)
    level = scanner.ct_noise * np.clip(np.exp(1.1 * (thick - 1)), 0.5, 2.0)
    seen += noise * level[:, None, None].astype(np.float32)
    return np.clip(np.round(seen), -1024, 3071)


def discrete_gaussian(array: Floats, sigma: Sequence[float]) -> Floats:
    """Blur with the discrete Gaussian, whose variance is exact even far below a voxel.

    A Gaussian that is merely sampled at the voxels is too narrow by 10 to 30 % at a standard
    deviation of half a voxel.

    Source:
        Lindeberg, "Scale-space for discrete signals", IEEE PAMI 1990, equation 19.
    """
    for axis, width in enumerate(sigma):
        reach = np.arange(-int(np.ceil(3.5 * width + 1)), int(np.ceil(3.5 * width + 1)) + 1)
        kernel = special.ive(reach, width**2)
        array = ndimage.correlate1d(array, kernel / kernel.sum(), axis, mode="nearest")
    return array
