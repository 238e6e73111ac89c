"""What several raters said of a prepared case, next to its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.core.errors import StoreError
from hilum.core.geometry import IntTriple

from ..io.boxes import overlap
from ..raters.shares import table_of
from .compressed import Voxels, open_array, write_array
from .shapes import AGAIN, check_array

if TYPE_CHECKING:
    from .case_store import StoredCase


@dataclass(frozen=True)
class PreparedRaters:
    """Labels of several raters on a prepared grid.

    Attributes:
        names: Of the raters.
        masks: uint8 `[R, D, H, W]`, a class or 255.
        mixed: uint8 `[D, H, W]`, numbers of `raters.shares`, where training is to learn shares.
        shares: Of each mixture the fraction of every class, the background first.
    """

    names: tuple[str, ...]
    masks: np.ndarray
    mixed: np.ndarray | None = None
    shares: list[list[float]] = field(default_factory=list)

    def write(self, folder: Path, storage: str) -> dict[str, Any]:
        """Write the arrays into the folder of a case; return what `case.json` says of them."""
        write_array(folder / f"raters.{storage}", self.masks)
        if self.mixed is None:
            return {"raters": self.names}
        write_array(folder / f"mixed.{storage}", self.mixed)
        return {"raters": self.names, "shares": self.shares}


def raters_of(case: StoredCase) -> dict[str, np.ndarray]:
    """Return what each rater said, uint8 `[D, H, W]` by name; empty for a case without raters."""
    names = case.about.get("raters", ())
    if not names:
        return {}
    masks = _opened(case, "raters", (len(names), *case.grid.shape))
    return {name: np.asarray(masks[row]) for row, name in enumerate(names)}


def is_soft(case: StoredCase) -> bool:
    """Tell whether the fractions of the raters' answers are kept."""
    return "shares" in case.about


def mixed_label(case: StoredCase, start: Sequence[int], sides: IntTriple) -> np.ndarray:
    """Return the numbers of the mixtures in a box of a case that `is_soft`; 0 outside of it.

    Args:
        case: The case.
        start: First index of the box, which may lie partly outside.
        sides: Of the box.
    """
    inner, outer = overlap(start, sides, case.grid.shape)
    label = np.zeros(sides, np.uint8)
    label[outer] = _opened(case, "mixed", case.grid.shape)[inner]
    return label


def targets_of(case: StoredCase, classes: int) -> np.ndarray:
    """Return the target of each number of a label, float32 `[256, classes]`.

    Raises:
        StoreError: If the case has fractions of classes that the store does not know.
    """
    shares = case.about.get("shares", [])
    if any(len(row) > classes for row in shares):
        raise StoreError(
            f"raters may have marked {classes - 1} classes",
            case=case.id,
            file=case.folder / "case.json",
            found=max(map(len, shares)) - 1,
            remedy=AGAIN,
        )
    return table_of(shares, classes)


def _opened(case: StoredCase, name: str, shape: tuple[int, ...]) -> Voxels:
    file = case.folder / f"{name}.{case.about.get('storage', 'npy')}"
    array = _kept(file, case.id)
    check_array(array, np.uint8, shape, case.id, file)
    return array


@lru_cache(maxsize=200)
def _kept(file: Path, case: str) -> Voxels:
    return open_array(file, case)
