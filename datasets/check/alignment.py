"""Check that the PET of a case lies on its CT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..io.nifti import Volume
from ..prepare.alignment import misalignment
from .report import Problem

WARN_MM = 15.0
"""Breathing moves nodes near the diaphragm by less; a patient who moved, by more."""


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
            axes = zip(("right", "anterior", "superior"), shift, strict=True)
            parts = ", ".join(f"{mm:+.0f} mm {axis}" for axis, mm in axes if mm is not None)
            problems.append(
                Problem(
                    case,
                    "warn",
                    f"{name} should lie on ct",
                    f"an estimate of {found.distance_mm:.0f} mm to move it by ({parts})",
                    "look at both; registration=rigid of prepare moves it if that is plausible",
                )
            )
    return problems
