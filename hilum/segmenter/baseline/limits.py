"""How well a limit of the uptake alone finds the labels, at many limits at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hilum.core.errors import DataError
from hilum.core.modality import Unit, modality
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore, PreparedCase, StoredCase

LIMITS = np.round(np.geomspace(0.5, 20, 60), 2)
"""SUV to try."""


def channel(case: StoredCase | PreparedCase, unit: Unit) -> np.ndarray | None:
    """Return the first volume of a unit, float32 `[D, H, W]`, if the case has one."""
    for row, name in enumerate(case.modalities):
        if modality(name).unit == unit:
            return np.asarray(case.images[row], np.float32)
    return None


def soft(case: StoredCase | PreparedCase, between: tuple[float, float] | None) -> np.ndarray | None:
    """Return where a case is of soft tissue by its CT; `None` where nothing is asked, or no CT."""
    ct = None if between is None else channel(case, "HU")
    if ct is None or between is None:
        return None
    return (ct >= between[0]) & (ct <= between[1])


def dice_at_limits(
    case: StoredCase,
    limits: Sequence[float] | np.ndarray = LIMITS,
    classes: Sequence[int] = (),
    between: tuple[float, float] | None = None,
) -> np.ndarray | None:
    """Return the Dice of `SUV above the limit` with the label, one value per limit.

    Voxels whose label is unknown do not count. Two empty masks have no Dice: nan.

    Args:
        case: Labelled.
        limits: Rising.
        classes: Values of the label that count as foreground; all if empty.
        between: HU of soft tissue, outside of which uptake does not count.

    Returns:
        One value per limit; `None` if the case has no SUV, or no label for one of the classes.
    """
    suv = channel(case, "SUV")
    drawn = set(case.annotated)
    if suv is None or case.label is None or (drawn and not drawn >= set(classes)):
        return None
    label = np.asarray(case.label)
    truth = np.isin(label, classes) if classes else (label > 0) & (label != IGNORE)
    inside = soft(case, between)
    known = label != IGNORE
    counts = known if inside is None else known & inside
    ours = _above(suv[counts], limits)
    both = _above(suv[counts & truth], limits)
    total = ours + np.count_nonzero(truth)
    with np.errstate(invalid="ignore"):
        return 2 * both / total


def best_limit(
    store: CaseStore,
    cases: Sequence[str],
    classes: Sequence[int] = (),
    between: tuple[float, float] | None = None,
) -> tuple[float, float, int]:
    """Return the limit of the highest mean Dice over patients, that Dice, and how many they are.

    Of limits that are as good as each other it is the one in their middle.

    Raises:
        DataError: If no case has a label with a node, and a PET.
    """
    found: dict[str, list[np.ndarray]] = {}
    classes = classes or range(1, max(store.classes, 2))
    for name in cases:
        own = dice_at_limits(store[name], LIMITS, classes, between)
        if own is not None and not np.isnan(own).all():
            found.setdefault(store.rows[name]["patient"], []).append(own)
    if not found:
        raise DataError(
            "a limit of the uptake is chosen on labelled cases with a PET",
            file=store.path,
            found=f"none among {len(cases)} cases",
            remedy="give the limit as a number of SUV",
        )
    # Above the highest uptake of an empty case both masks are empty: that is as it should be.
    mean = np.mean([np.nan_to_num(np.mean(own, 0), nan=1.0) for own in found.values()], 0)
    best = np.flatnonzero(mean >= mean.max() - 1e-12)
    middle = int(best[len(best) // 2])
    return float(LIMITS[middle]), float(mean[middle]), len(found)


def _above(values: np.ndarray, limits: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return how many values exceed each limit."""
    hot = np.sort(values[values > limits[0]])
    return len(hot) - np.searchsorted(hot, np.asarray(limits, np.float32), "right")
