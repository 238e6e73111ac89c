"""Measure what tells the scale of a PET: uptake of soft tissue and of the liver, and noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.core.geometry import nearest_index
from hilum.core.modality import modality

from ..io.nifti import Volume
from .values import body_median

SOFT_HU = (0.0, 150.0)
"""Muscle, blood and organs, with contrast or without."""
LEAST_VOXELS = 200
"""Fewer do not give a median."""
LAG_MM = 8.0
"""Noise is told by voxels this far apart: nearer ones share it, as a scanner blurs by 4 to 7 mm."""


def uptake_facts(
    volumes: Mapping[str, Volume], organs: Volume | None = None, liver: int = 0
) -> dict[str, dict[str, float]]:
    """Return, for each PET of a case, what can be compared between patients.

    `body_median` is the median SUV of soft tissue: where the CT says so, so that a hot tumour that
    fills the field of view does not count as the body; without a CT it is what the PET shows above
    a tenth of its 99th percentile. `noise` is the standard deviation of soft tissue as a fraction
    of that median. `liver_median` is there if the mask of organs has a liver.

    Args:
        volumes: By modality.
        organs: Mask of organs on any grid.
        liver: Its number in the mask; 0 if it has none.
    """
    ct = next((volumes[name] for name in volumes if name.split("_")[0] == "ct"), None)
    found = {}
    for name, volume in volumes.items():
        if modality(name).unit == "SUV":
            found[name] = _measured(volume, ct, organs if liver else None, liver)
    return found


def _measured(
    pet: Volume, ct: Volume | None, organs: Volume | None, liver: int
) -> dict[str, float]:
    # Whole rows: noise is told along them.
    step = max(1, round((pet.array.size / 1e6) ** 0.5))
    rows = np.asarray(pet.array[::step, ::step], np.float32)
    tissue = None
    if ct is not None:
        hu = _looked_up(ct, pet, step, fill=-1024)
        tissue = (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])
    if tissue is None or np.count_nonzero(tissue) < LEAST_VOXELS:
        found = {"body_median": body_median(pet.array, float(pet.array.max()))}
        tissue = rows > 0.1 * np.percentile(rows, 99)
    else:
        found = {"body_median": float(np.median(rows[tissue]))}
    noise = _noise(rows, tissue, pet.grid.spacing[2])
    if noise is not None and found["body_median"] > 0:
        found["noise"] = noise / found["body_median"]
    if organs is not None:
        inside = _looked_up(organs, pet, step, fill=0) == liver
        if np.count_nonzero(inside) >= LEAST_VOXELS:
            found["liver_median"] = float(np.median(rows[inside]))
    return {key: float(f"{value:.6g}") for key, value in found.items()}


def _noise(rows: np.ndarray, tissue: np.ndarray, spacing: float) -> float | None:
    """Return the standard deviation of noise along rows, or nothing if tissue is too little.

    Of second differences, which have no part in any slope of the uptake; their median absolute
    value, which edges of organs do not move. For independent noise their variance is six times
    the noise's.
    """
    lag = max(1, round(LAG_MM / spacing))
    if rows.shape[2] <= 2 * lag:
        return None
    before, at, after = (slice(0, -2 * lag), slice(lag, -lag), slice(2 * lag, None))
    inside = tissue[..., before] & tissue[..., at] & tissue[..., after]
    if np.count_nonzero(inside) < LEAST_VOXELS:
        return None
    second = rows[..., before] - 2 * rows[..., at] + rows[..., after]
    return 1.4826 * float(np.median(np.abs(second[inside]))) / 6**0.5


def _looked_up(other: Volume, pet: Volume, step: int, fill: float) -> np.ndarray:
    """Return the nearest values of another volume at the thinned voxels of a PET."""
    thin = pet.array[::step, ::step].shape
    axes = [np.arange(thin[0]) * step, np.arange(thin[1]) * step, np.arange(thin[2])]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    place = nearest_index(other.grid.to_index(pet.grid.to_world(index)))
    inside = ((place >= 0) & (place < other.array.shape)).all(1)
    found = np.full(len(place), fill, other.array.dtype)
    found[inside] = other.array[tuple(place[inside].T)]
    return found.reshape(thin)
