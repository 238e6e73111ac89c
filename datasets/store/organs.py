"""Organs of a prepared case next to its label, in one array, so that both are augmented alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hilum.core.errors import DataError
from hilum.core.types import IGNORE

from ..io.boxes import overlap
from .case_store import StoredCase
from .compressed import open_array

NO_ORGANS = 254
"""Background of the label, in a case whose organs nobody knows."""


def anatomy_file(case: StoredCase) -> Path:
    """Return where a prepared case keeps the mask of its organs; it need not exist."""
    return case.folder / f"anatomy.{case.about.get('storage', 'npy')}"


def with_organs(
    label: np.ndarray, case: StoredCase, start: Sequence[int], organs: Sequence[int], first: int
) -> np.ndarray:
    """Return a label in which background voxels of organs have numbers from `first` on.

    Args:
        label: uint8 `[D, H, W]` of a box of the case; classes below `first`, or 255.
        case: Where the box is from.
        start: First index of the box.
        organs: Numbers in the mask of organs; the first of them becomes `first`.
        first: One above the last class.

    Returns:
        uint8 `[D, H, W]`; 254 where the label is background and the case has no mask of organs.
    """
    if not anatomy_file(case).is_file():
        return np.where(label == 0, np.uint8(NO_ORGANS), label)
    d, h, w = label.shape
    inner, outer = overlap(start, (d, h, w), case.grid.shape)
    found = np.zeros(label.shape, np.uint8)
    found[outer] = _opened(anatomy_file(case), case.id)[inner]
    number = np.zeros(256, np.uint8)
    number[list(organs)] = np.arange(first, first + len(organs))
    return np.where(label == 0, number[found], label)


def split_organs(label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the label of the classes alone, and that of classes and organs.

    Args:
        label: What `with_organs` gave, uint8 of any shape.
        classes: Background included: organs begin there.

    Returns:
        In the first, organs are background. In the second, the background of a case without a mask
        of organs is unknown (255): it may be any organ.
    """
    known = label != IGNORE
    nodes = torch.where(known & (label >= classes), torch.zeros_like(label), label)
    every = torch.where(label == NO_ORGANS, torch.full_like(label, IGNORE), label)
    return nodes, every


def check_organs(cases: Sequence[StoredCase], organs: Sequence[int], file: Path) -> None:
    """Raise an error if no case has a mask of organs."""
    if organs and not any(anatomy_file(case).is_file() for case in cases):
        raise DataError(
            "an organ head needs training cases with a mask of organs",
            file=file,
            found=f"none in {len(cases)} cases",
            remedy="fill the column anatomy of the manifest and prepare again, or leave out organs",
        )


@lru_cache(maxsize=200)
def _opened(file: Path, case: str) -> np.ndarray:
    return open_array(file, case)  # pyright: ignore[reportReturnType]
