"""Change a prepared case as a bad day at the scanner would: shifted, mis-scaled, blurred."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from hilum.core.modality import modality
from hilum.core.seeds import numpy_generator
from hilum.datasets.augmentation.intensity import blur
from hilum.datasets.store.case_store import PreparedCase, StoredCase


class Perturbation(NamedTuple):
    """What happens to one modality.

    Attributes:
        shift_mm: Length of its displacement against the patient, in a direction drawn per case.
        scale: Factor on its values; only sensible for SUV.
        fwhm_mm: Width of a Gaussian that lowers its resolution, full width at half maximum.
    """

    shift_mm: float = 0.0
    scale: float = 1.0
    fwhm_mm: float = 0.0


def perturb(
    case: StoredCase, name: str, change: Perturbation, seed: int = 0
) -> StoredCase | PreparedCase:
    """Return the case with one modality changed; the label and the others stay.

    The direction of a shift depends on the seed and the case alone: longer shifts go further along
    the same line. What comes in from beyond the scan is air, or no uptake.

    Args:
        case: From a store; comes back as it is if it lacks the modality or nothing happens.
        name: The modality.
        change: What happens.
        seed: Of the directions.
    """
    if name not in case.modalities or change == Perturbation():
        return case
    images = np.array(case.images, np.float32)
    row = case.modalities.index(name)
    x = images[row]
    if change.shift_mm:
        voxels = direction(case.id, seed) * change.shift_mm / np.array(case.grid.spacing)
        fill = float(modality(name).fill)
        x = ndimage.shift(x, voxels, order=1, mode="constant", cval=fill)
    if change.fwhm_mm:
        x = blur(torch.from_numpy(np.ascontiguousarray(x)), change.fwhm_mm, case.grid.spacing)
        x = x.numpy()
    images[row] = x * change.scale
    return PreparedCase(
        id=case.id,
        patient=case.patient,
        site=case.site,
        split=case.split,
        images=images.astype(np.float16),
        modalities=case.modalities,
        regions=np.asarray(case.regions),
        label=None if case.label is None else np.asarray(case.label),
        grid=case.grid,
        source_grid=case.source_grid,
        factors={},
        inputs={},
    )


def direction(case: str, seed: int = 0) -> np.ndarray:
    """Return the unit vector (depth, height, width) along which a case's modality is moved."""
    drawn = numpy_generator(seed, "shift", case).normal(size=3)
    return drawn / np.linalg.norm(drawn)
