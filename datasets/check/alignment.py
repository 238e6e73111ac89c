"""Check that the PET of a case lies on its CT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..io.nifti import Volume
from ..prepare.alignment import misalignment
from .report import Problem

WARN_MM = 15.0
"""Breathing moves nodes near the diaphragm by less; a patient who moved, by more."""
NOISES = 2.0
"""How many times its own noise a shift must be to count."""


def alignment_problems(
    case: str, volumes: Mapping[str, Volume], facts: dict[str, Any]
) -> list[Problem]:
    """Return a warning for each PET that seems to lie off its CT, and note every estimate.

    Args:
        case: Name of the case.
        volumes: Scans that could be read, by modality.
        facts: Of the case; gets `misalignment_mm` with right, anterior and superior for each PET,
            and nothing along an axis that the scans do not tell.
    """
    ct = next((volumes[name] for name in volumes if name.split("_")[0] == "ct"), None)
    problems = []
    for name, volume in volumes.items():
        if ct is None or name.split("_")[0] != "pet":
            continue
        found = misalignment(ct, volume)
        if found is None:
            continue
        shift = [
            round(mm, 1) if known else None
            for mm, known in zip(found.shift_mm, found.known, strict=True)
        ]
        facts.setdefault("misalignment_mm", {})[name] = shift
        if found.distance_mm > WARN_MM:
            noise = _noise_mm(ct, volume)
            facts.setdefault("misalignment_noise_mm", {})[name] = noise
            sure = noise is None or found.distance_mm > NOISES * noise
            axes = zip(("right", "anterior", "superior"), shift, strict=True)
            parts = ", ".join(f"{mm:+.0f} mm {axis}" for axis, mm in axes if mm is not None)
            problems.append(
                Problem(
                    case,
                    "warn" if sure else "info",
                    f"{name} should lie on ct",
                    f"an estimate of {found.distance_mm:.0f} mm to move it by ({parts}), "
                    + _certainty(noise),
                    "look at both; registration=rigid of prepare moves it if that is plausible",
                )
            )
    return problems


def _noise_mm(ct: Volume, pet: Volume) -> float | None:
    """Return how far estimates of the two halves of the field of view differ, halved, in mm.

    Nothing if either half tells no shift. Only axes that both halves tell count.
    """
    depth, height, width = ct.grid.shape
    middle = depth // 2
    halves = []
    for start, stop in ((0, middle), (middle, depth)):
        grid = ct.grid.crop((start, 0, 0), (stop - start, height, width))
        halves.append(misalignment(Volume(ct.array[start:stop], grid), pet))
    if any(half is None for half in halves):
        return None
    one, two = (half for half in halves if half is not None)
    both = np.array(one.known) & np.array(two.known)
    if not both.any():
        return None
    apart = np.subtract(one.shift_mm, two.shift_mm)[both]
    return round(float(np.linalg.norm(apart)) / 2, 1)


def _certainty(noise: float | None) -> str:
    if noise is None:
        return "and the halves of the field of view tell none of their own"
    return f"the halves of the field of view differ by {2 * noise:.0f} mm"
