"""Compare the label of a case with others next to it, such as `label_pet` drawn on the PET."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.errors import UserError

from ..io.nifti import ENDINGS, Volume, read_label
from ..io.resampling import resample
from .report import Problem

LEAST_DICE = 0.5
"""Two readers, or two scans, of one node agree better than that (0.7 to 0.95 in the literature)."""


def two_label_problems(case: Case, label: Volume, facts: dict[str, object]) -> Iterator[Problem]:
    """Yield other labels of the case that mark another place.

    A file `label_*.nii.gz` next to the label is brought to its grid (nearest voxel), and Dice of
    all that is marked is taken.

    Args:
        case: Names the label.
        label: On its grid.
        facts: Of the case; gets `label_dice`, by name of the other label.
    """
    if case.label is None:
        return
    mine = (label.array > 0) & (label.array != IGNORE)
    dice: dict[str, float] = {}
    for file in sorted(case.label.parent.glob("label_*")):
        end = next((end for end in ENDINGS if file.name.lower().endswith(end)), "")
        if not end or file == case.label:
            continue
        name = file.name[: -len(end)]
        try:
            other = read_label(file, case.id)
        except UserError as error:
            yield Problem(case.id, "warn", f"{name} should be readable", str(error))
            continue
        marked = ((other.array > 0) & (other.array != IGNORE)).astype(np.uint8)
        theirs = resample(marked, other.grid, label.grid, order=0) > 0
        total = int(mine.sum()) + int(theirs.sum())
        if not total:
            continue
        dice[name] = round(2 * int((mine & theirs).sum()) / total, 3)
        if dice[name] < LEAST_DICE:
            volumes = (
                float(m.sum()) * g.voxel_ml for m, g in ((mine, label.grid), (marked, other.grid))
            )
            found = "Dice {:.2f}, {:.3g} and {:.3g} ml".format(dice[name], *volumes)
            remedy = "is one of another visit, or do the scans not lie on each other?"
            yield Problem(case.id, "warn", f"label and {name} should mark one place", found, remedy)
    if dice:
        facts["label_dice"] = dice
