"""Say what is wrong with slices at uneven distances: some are missing, or the spacing varies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MISSING = "no slice may be missing"
UNEVEN = "slices must be evenly spaced"
WIDE = 1.5
"""A gap of so many usual ones is no jitter."""
_IN_A_ROW = 3
"""So many wide gaps in a row are a part of the scan with another spacing."""


def verdict(
    gaps: np.ndarray, places: np.ndarray, numbers: Sequence[int] = ()
) -> tuple[str, str, str]:
    """Return the rule that uneven slices break, what was found, and what to do.

    The scanner's numbers of the slices decide where there are some: a wide gap between neighbours
    in number lacks nothing. Without them slices are missing where every wide gap is a whole
    multiple of the usual one and no three follow each other.

    Args:
        gaps: Between neighbouring slices, in mm.
        places: Of the slices along their normal, in mm.
        numbers: InstanceNumber of each slice, in the same order, if all have one.
    """
    usual = float(np.median(gaps))
    wide = gaps > WIDE * usual
    if wide.any() and _missing(gaps / usual, wide, numbers):
        lost = int(np.round(gaps[wide] / usual - 1).sum())
        found = f"{lost} missing, the first after {places[np.argmax(wide)]:.2f} mm along the normal"
        return MISSING, found, "export the whole series again"
    found = f"variable spacing, gaps of {gaps.min():.3g} to {gaps.max():.3g} mm: {_parts(gaps)}"
    remedy = "import the scanner's even reconstruction, or resample the series to even slices"
    return UNEVEN, found, remedy


def _missing(ratio: np.ndarray, wide: np.ndarray, numbers: Sequence[int]) -> bool:
    if len(numbers) == len(ratio) + 1 and len(set(numbers)) == len(numbers):
        return bool((np.abs(np.diff(numbers))[wide] > 1).any())
    whole = np.abs(ratio - np.round(ratio))[wide].max() < 0.1
    row = max(len(part) for part in "".join("x" if w else " " for w in wide).split())
    return bool(whole) and row < _IN_A_ROW


def _parts(gaps: np.ndarray, most: int = 4) -> str:
    """Return the runs of equal gaps in words, as in `40 of 2.5 mm, then 20 of 5 mm`."""
    runs: list[list[float]] = []
    for gap in gaps.tolist():
        if runs and abs(gap - runs[-1][0]) <= 0.05 * runs[-1][0]:
            runs[-1].append(gap)
        else:
            runs.append([gap])
    words = [f"{len(run)} of {np.mean(run):.3g} mm" for run in runs]
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return ", then ".join(words[:most]) + more
