"""Read the label of a case, whether it is one file or those of several raters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.notes import Note

from ..io.lattice import place_mask
from ..io.mask_values import refuse_sentinels
from ..io.masks import read_mask
from ..io.nifti import Volume
from .fusing import Fusion, fuse


@dataclass(frozen=True)
class Raters:
    """Masks of several raters on one grid.

    Attributes:
        names: Of the raters.
        masks: uint8 `[R, D, H, W]`.
        volume: The first of them, for its grid.
        notes: What was done to bring them together.
    """

    names: tuple[str, ...]
    masks: np.ndarray
    volume: Volume
    notes: tuple[Note, ...]


def label_file(case: Case) -> Path | None:
    """Return the file that messages on a label name: the label, else that of the first rater."""
    return case.label or next(iter(case.raters.values()), None)


def read_raters(case: Case) -> Raters | None:
    """Read the masks of the raters; nothing if a case has none.

    Raises:
        DataError: If they do not lie on one grid, or values of one cannot be meant.
    """
    if not case.raters:
        return None
    first: Volume | None = None
    masks, notes = list[np.ndarray](), list[Note]()
    for rater, file in case.raters.items():
        volume = read_mask(file, case.id)
        refuse_sentinels(volume.array, case.id, file)
        if int(volume.array.max(initial=0)) > 255:
            raise DataError(
                "a label must hold classes from 1 on, or 255 for unknown", case=case.id, file=file,
                found=int(volume.array.max()),
            remedy="mend the values of the file; 0 is background")  # fmt: skip
        first = first or volume
        placed, told = place_mask(
            volume, first.grid, case=case.id, file=file, what=f"the label of {rater}",
            scan="the first rater's label",
        )  # fmt: skip
        masks.append(placed.array.astype(np.uint8))
        notes += told
    assert first is not None
    return Raters(tuple(case.raters), np.stack(masks), first, tuple(notes))


def read_case_label(case: Case, how: Fusion = "staple") -> Volume | None:
    """Return the label of a case: its file, else what the raters' labels are together.

    Args:
        case: Any.
        how: The raters' labels become one.

    Raises:
        DataError: If a file cannot be used.
    """
    if case.label is not None:
        return read_mask(case.label, case.id)
    raters = read_raters(case)
    if raters is None:
        return None
    return Volume(fuse(raters.masks, how), raters.volume.grid)
