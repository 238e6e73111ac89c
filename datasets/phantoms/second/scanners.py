"""From tissue and tracer to a CT and a PET, second edition: kernel, metal, time of flight, motion.

Physics as in `imaging`, and beyond it: the CT is seen on the scanner's own grid through its
reconstruction kernel, metal hardens the beam, the counts of the PET depend on how thick the body
is in each slice and on the time of flight, and the PET is a mean over the breathing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.core.geometry import Grid

from ..canvas import Floats
from ..imaging import (
    SIGMA_PER_FWHM,
    Misregistration,
    Scanner,
    blurred,
    blurs,
    counted,
    discrete_gaussian,
)
from .acquisition import Acquisition
from .metal import streaks


@dataclass(frozen=True)
class Reconstruction:
    """What a scanner makes of its raw data.

    Attributes:
        grain_mm: Correlation of the CT's noise, FWHM: fine for a sharp kernel, coarse for an
            iterative reconstruction.
        sharpness: Overshoot at edges of the CT: fraction of the unsharp mask that is added.
        tof_ps: Time resolution of the PET; none without time of flight.
    """

    grain_mm: float
    sharpness: float
    tof_ps: float | None


RECONSTRUCTIONS: dict[str, Reconstruction] = {
    "a": Reconstruction(3.0, 0.0, 400),
    "b": Reconstruction(4.0, 0.0, 550),
    "c": Reconstruction(1.8, 0.6, 210),
    "d": Reconstruction(4.0, 0.0, None),
    "e": Reconstruction(6.0, 0.2, 380),
}

STILL = Misregistration((0.0, 0.0, 0.0), 0.0, 0.0, 1.0)
_BREATHS = (-0.45, -0.25, 0.05, 0.65)
"""Where the body is over a breath, in amplitudes; mostly near the end of breathing out."""
_ATTENUATION_PER_MM = 0.0096
"""Of annihilation photons in water."""
_LIGHT_MM_PER_PS = 0.2998
_USUAL_MM = 230.0
"""Water-equivalent diameter at which the counts are the scanner's."""
_UNSHARP_MM = 3.0


def on_grid(values: Floats, here: Grid, there: Grid, fwhm_mm: float) -> Floats:
    """Return values `[D, H, W]` at another resolution on another grid, by means over voxels."""
    return blurred(values, here, there, STILL, fwhm_mm * SIGMA_PER_FWHM)


def image_ct(
    hu: Floats,
    here: Grid,
    ct: Grid,
    scanner: Scanner,
    reconstruction: Reconstruction,
    metal: Floats | None,
    rng: np.random.Generator,
) -> Floats:
    """Return the CT in whole HU.

    Args:
        hu: True values on the anatomy's grid.
        here: Grid of the anatomy.
        ct: Grid of the CT.
        scanner: The machine.
        reconstruction: Its kernel.
        metal: Fraction of metal in each voxel of the anatomy, if any.
        rng: Source of the noise.
    """
    seen = on_grid(hu, here, ct, scanner.ct_blur_mm)
    if reconstruction.sharpness:
        wide = discrete_gaussian(seen, [_UNSHARP_MM * SIGMA_PER_FWHM / s for s in ct.spacing])
        seen = seen + np.float32(reconstruction.sharpness) * (seen - wide)
    if metal is not None:
        seen = seen + streaks(seen, on_grid(metal, here, ct, scanner.ct_blur_mm), ct)
    noise = rng.standard_normal(ct.shape, np.float32)
    grain = reconstruction.grain_mm * SIGMA_PER_FWHM
    noise = discrete_gaussian(noise, [0.35, *(grain / s for s in ct.spacing[1:])])
    noise /= noise.std()
    thick = _diameters(hu, here, ct) / _USUAL_MM
    level = scanner.ct_noise * np.clip(np.exp(1.1 * (thick - 1)), 0.5, 2.5)
    seen = seen + noise * level.astype(np.float32)[:, None, None]
    return np.clip(np.round(seen), -1024, 3071)


def image_pet(
    tracer: Floats,
    hu: Floats,
    here: Grid,
    pet: Grid,
    move: Misregistration,
    acquisition: Acquisition,
    scanner: Scanner,
    reconstruction: Reconstruction,
    rng: np.random.Generator,
) -> Floats:
    """Return the PET, a mean over where the body is during the minutes that it takes.

    Args:
        tracer: True SUV on the anatomy's grid.
        hu: True HU, alike.
        here: Grid of the anatomy.
        pet: Grid of the PET.
        move: Mean misregistration.
        acquisition: Breathing and jump.
        scanner: The machine.
        reconstruction: Its time of flight.
        rng: Source of counts and calibration.
    """
    before, _ = blurs(scanner)
    seen = [blurred(tracer, here, pet, one, before) for one in positions(move, acquisition)]
    counts = sensitivity(_diameters(hu, here, pet), reconstruction)[:, None, None]
    return counted(np.asarray(np.mean(seen, 0), np.float32), pet, scanner, rng, counts)


def positions(move: Misregistration, acquisition: Acquisition) -> Sequence[Misregistration]:
    """Return where the body is during the PET; their mean is the misregistration of the truth.

    No breath is longer than a third of the width over which it fades, since tissue would fold;
    where one would be, the mean is less than that of the truth.
    """
    if not acquisition.breathing_mm and not any(acquisition.jump_mm):
        return [move]
    limit = move.width_mm / 3
    mean = float(np.mean(_BREATHS))
    found = []
    for number, breath in enumerate(_BREATHS):
        side = 0.5 if number % 2 else -0.5
        x, y, z = (s + side * j for s, j in zip(move.shift_mm, acquisition.jump_mm, strict=True))
        breathing = move.breathing_mm + (breath - mean) * acquisition.breathing_mm
        bounded = float(np.clip(breathing, -limit, limit))
        found.append(replace(move, shift_mm=(x, y, z), breathing_mm=bounded))
    return found


def sensitivity(diameter_mm: Floats, reconstruction: Reconstruction) -> Floats:
    """Return the factor on the effective counts of slices of these water-equivalent diameters.

    Half of the path of both photons together is attenuated on average, and time of flight lowers
    the variance by the diameter over 1.6 times the uncertainty of place.

    Source:
        Tomitani, "Image reconstruction and noise evaluation in photon time-of-flight assisted
        positron emission tomography", IEEE Trans. Nucl. Sci. 1981, doi:10.1109/TNS.1981.4335769.
    """
    lost = np.exp(-_ATTENUATION_PER_MM * (diameter_mm - _USUAL_MM) / 2)
    gain = 1.0
    if reconstruction.tof_ps:
        place = _LIGHT_MM_PER_PS * reconstruction.tof_ps / 2
        gain = np.maximum(1.0, diameter_mm / (1.6 * place))
    return np.clip(lost * gain, 0.2, 6.0).astype(np.float32)


def _diameters(hu: Floats, here: Grid, there: Grid) -> Floats:
    """Return the water-equivalent diameter in mm of each slice of another grid."""
    area = np.clip(hu / 1000 + 1, 0, 1.5).sum((1, 2)) * here.spacing[1] * here.spacing[2]
    z = [grid.affine[2, 3] + grid.affine[2, 0] * np.arange(grid.shape[0]) for grid in (here, there)]
    return np.interp(z[1], z[0], 2 * np.sqrt(area / np.pi))
