"""Partial labels: an unmarked voxel is unknown, except where there can be no node."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.plain import json_of

from ..io.lattice import apart
from ..io.nifti import read_grid, read_label
from ..io.resampling import resample

AIR_HU = -300.0
"""Below it lies air or lung, never a node."""


def with_unknown(
    label: np.ndarray,
    body: np.ndarray,
    ct: np.ndarray | None = None,
    anatomy: np.ndarray | None = None,
) -> np.ndarray:
    """Return a label whose unmarked voxels are unknown (255) where there may be a node.

    Air around the patient, air and lung in the CT, and known organs stay background: without any
    background, a network would learn to call everything a node.

    Source:
        Dorent et al., "LNQ 2023 challenge", arXiv:2408.10069: the best entries took organs that
        TotalSegmentator finds as background.

    Args:
        label: uint8 `[D, H, W]`.
        body: Booleans: inside the patient, lungs included.
        ct: HU on the same grid, if there is a CT.
        anatomy: Above 0 where an organ is, if that is known.
    """
    known = ~body
    if ct is not None:
        known |= ct < AIR_HU
    if anatomy is not None:
        known |= anatomy > 0
    return np.where((label == 0) & ~known, np.uint8(IGNORE), label)


def check_anatomy(case: Case, grid: Grid) -> None:
    """Raise an error if the mask of organs, if there is one, lies next to a scan.

    It may have any grid of its own.
    """
    if case.anatomy is None:
        return
    own = read_grid(case.anatomy, case.id)
    if not (own.overlap(grid) or grid.overlap(own)):
        raise DataError(
            "the mask of organs must lie on the patient",
            case=case.id,
            file=case.anatomy,
            found=apart(grid, own),
            remedy="it may be of another patient, or have lost its position: see its header",
        )


def anatomy_on(case: Case, grid: Grid) -> np.ndarray | None:
    """Return the number of the organ at each voxel of a grid, 0 elsewhere; `None` if unknown.

    Raises:
        DataError: If the mask lies elsewhere, or has numbers above 255.
    """
    if case.anatomy is None:
        return None
    check_anatomy(case, grid)
    found = read_label(case.anatomy, case.id)
    if found.array.max(initial=0) > 255:
        raise DataError(
            "organs must have numbers from 1 to 255",
            case=case.id,
            file=case.anatomy,
            found=int(found.array.max()),
            remedy="number the organs from 1 on, 0 is none",
        )
    return resample(found.array.astype(np.uint8), found.grid, grid, order=0)


def organ_names(file: Path) -> dict[int, str]:
    """Return the names of the numbers in a mask of organs.

    They are in `<mask>.json` next to it, else in `names.json` of its folder, for all masks there.
    It holds `{"1": "aorta", ...}` or the reverse; without it there are none.

    Raises:
        DataError: If it holds something else.
    """
    beside = file.with_name(file.name.split(".")[0] + ".json")
    if not beside.is_file():
        beside = file.with_name("names.json")
    if not beside.is_file():
        return {}
    try:
        found = json_of(beside.read_bytes())
        pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in found.items()]
        return {int(number): str(name) for number, name in pairs}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            'names of organs must be a JSON object such as {"1": "aorta"}',
            file=beside,
            found=error,
            remedy="mend the file, or remove it",
        ) from None
