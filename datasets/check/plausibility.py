"""Is the PET of a case on the scale of the other cases: a tenth or ten times gives it away.

The median of the body's uptake is compared as a logarithm, since a wrong dose, unit or slope
multiplies. The cohort's own spread sets the limit (median absolute deviation, by 1.4826 as the
standard deviation of a normal distribution); in a small cohort, absolute limits do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import log10
from typing import Any

import numpy as np

from hilum.core.geometry import nearest_index
from hilum.core.modality import modality

from ..io.nifti import Volume
from .report import Problem
from .values import body_median

LEAST_CASES = 4
"""Fewer cases have no spread of their own."""
LEAST_RATIO = 3.0
"""Ratio to the cohort's median below which patients and tracers may differ."""
LEAST_Z = 3.5
"""Robust z beyond which a value is no member of the cohort (Iglewicz and Hoaglin 1993)."""
LEAST_SPREAD = 0.05
"""Standard deviation of log10 that any cohort has: 12 % between patients."""
SOFT_HU = (0.0, 150.0)
"""Muscle, blood and organs, with contrast or without."""
LEAST_VOXELS = 200
"""Fewer do not give a median."""
USUAL_SUV = (0.1, 8.0)
"""Median SUV of a body, from a limb to a chest full of activity, whatever the tracer."""


def tissue_medians(volumes: Mapping[str, Volume]) -> dict[str, float]:
    """Return the median SUV of soft tissue of each PET of a case.

    Soft tissue is where the CT says so, so that a hot tumour that fills the field of view does not
    count as the body; without a CT it is what the PET shows above a tenth of its 99th percentile.
    """
    ct = next((volumes[name] for name in volumes if name.split("_")[0] == "ct"), None)
    found = {}
    for name, volume in volumes.items():
        if modality(name).unit != "SUV":
            continue
        some = None if ct is None else _in_tissue(volume, ct)
        if some is not None and some.size >= LEAST_VOXELS:
            found[name] = float(np.median(some))
        else:
            found[name] = body_median(volume.array, float(volume.array.max()))
    return found


def _in_tissue(pet: Volume, ct: Volume) -> np.ndarray:
    """Return the values of a PET, evenly thinned, where the CT shows soft tissue."""
    step = max(1, round((pet.array.size / 2e5) ** (1 / 3)))
    thin = pet.array[::step, ::step, ::step]
    index = np.stack(np.meshgrid(*(np.arange(n) * step for n in thin.shape), indexing="ij"), -1)
    place = nearest_index(ct.grid.to_index(pet.grid.to_world(index.reshape(-1, 3))))
    inside = ((place >= 0) & (place < ct.array.shape)).all(1)
    hu = ct.array[tuple(place[inside].T)]
    return thin.ravel()[inside][(hu > SOFT_HU[0]) & (hu < SOFT_HU[1])]


def scale_problems(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield PET whose scale is not that of the others, or of any patient.

    Args:
        facts: Of each case; `body_median` of each SUV modality counts.
    """
    medians: dict[str, dict[str, float]] = defaultdict(dict)
    for case, about in facts.items():
        for name, fact in about.get("modalities", {}).items():
            if modality(name).unit == "SUV" and fact.get("body_median", 0) > 0:
                medians[name][case] = fact["body_median"]
    for name, values in medians.items():
        if len(values) < LEAST_CASES:
            yield from _absolute(name, values)
        else:
            yield from _against_the_cohort(name, values)


def _absolute(name: str, values: dict[str, float]) -> Iterator[Problem]:
    low, high = USUAL_SUV
    for case, value in values.items():
        if not low <= value <= high:
            found = (
                f"a median of the body of {value:.3g} SUV; a cohort of {_cases(len(values))} is "
                "too small to compare with, so the limits are absolute"
            )
            yield _problem(case, f"{name} should have a median between {low:g} and {high:g}", found)


def _against_the_cohort(name: str, values: dict[str, float]) -> Iterator[Problem]:
    logs = np.array([log10(value) for value in values.values()])
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), LEAST_SPREAD)
    usual = 10**middle
    low, high = USUAL_SUV
    if not low <= usual <= high:
        found = f"a median of the body of {usual:.3g} SUV over {_cases(len(values))}"
        yield _problem("", f"{name} should have a median between {low:g} and {high:g}", found)
    for (case, value), one in zip(values.items(), logs.tolist(), strict=True):
        z = (one - middle) / spread
        if abs(z) > LEAST_Z and abs(one - middle) > log10(LEAST_RATIO):
            found = (
                f"a median of the body of {value:.3g} SUV, {value / usual:.2g} times the "
                f"{usual:.3g} of the cohort (robust z {z:+.1f})"
            )
            yield _problem(case, f"{name} should be on the scale of the others", found)


def _problem(case: str, rule: str, found: str) -> Problem:
    remedy = "look at its units, dose, weight and rescale slope, and import it again"
    return Problem(case, "warn", rule, found, remedy)


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"
