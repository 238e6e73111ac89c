"""What a raw case must be like to be prepared, and what the user should know of it."""

from __future__ import annotations

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.modality import modality

from ..io.boxes import box_of
from ..io.nifti import Volume

MOST_CLASSES = 20
FEW = 1e-4
"""Share of voxels that may leave the plausible range: a hot catheter, not another unit."""


def check_values(case: Case, name: str, volume: Volume) -> str:
    """Return a note if a few voxels are implausible, or nothing.

    Raises:
        DataError: If many are: the unit is wrong, or the file damaged.
    """
    rule = modality(name)
    low, high = float(volume.array.min()), float(volume.array.max())
    if rule.plausible[0] <= low and high <= rule.plausible[1] and low < high:
        return ""
    beyond = sum(
        int(np.count_nonzero((part < rule.plausible[0]) | (part > rule.plausible[1])))
        for part in volume.array
    )
    if low < high and beyond <= FEW * volume.array.size:
        return (
            f"{name} has {beyond} voxels beyond {rule.plausible[0]:g} to {rule.plausible[1]:g} "
            f"{rule.unit} ({low:.4g} to {high:.4g}): look at them"
        )
    remedy = "export the scan again"
    if rule.unit == "SUV" and high > rule.plausible[1]:
        remedy = "this looks like Bq/ml: convert it to SUV (dose, decay, weight) before importing"
    raise DataError(
        f"{name} must be in {rule.unit}, between {rule.plausible[0]:g} and {rule.plausible[1]:g}",
        case=case.id,
        file=case.volumes[name],
        found=f"{low:.4g} to {high:.4g}",
        remedy=remedy,
    )


def check_overlap(case: Case, name: str, grid: Grid, reference: Grid, least: float) -> None:
    """Raise an error unless a scan and the reference share a part of the patient."""
    # The larger of the two directions: a small scan wholly inside the reference is sound.
    share = max(reference.overlap(grid), grid.overlap(reference))
    if share < least:
        raise DataError(
            f"{name} and the reference must overlap by at least {least:.0%}",
            case=case.id,
            file=case.volumes[name],
            found=f"{share:.0%}",
            remedy="the scans are not of one study, or lost their position in the patient",
        )


def check_classes(case: Case, label: Volume) -> None:
    """Raise an error if the values of a label are no classes."""
    high = int(label.array.max(initial=0, where=label.array != IGNORE))
    if high > MOST_CLASSES:
        raise DataError(
            "label values must be 0, classes from 1 on, or 255 for unknown",
            case=case.id,
            file=case.label,
            found=high,
            remedy="map the values of the mask to classes",
        )


def label_modality(case: Case, grids: dict[str, Grid], label: Grid) -> str:
    """Return the modality whose grid the label has."""
    fits = [name for name, grid in grids.items() if grid.same_as(label)]
    if not fits:
        shapes = ", ".join(f"{name} {grid.shape}" for name, grid in grids.items())
        raise DataError(
            "the label must lie on the grid of one of the modalities",
            case=case.id,
            file=case.label,
            found=f"{label.shape} beside {shapes}",
            remedy="export the mask on the grid of the scan that it was drawn on",
        )
    return "ct" if "ct" in fits else fits[0]


def label_notes(label: Volume, mask: np.ndarray, target: Grid) -> tuple[str, ...]:
    """Say what became of the label's volume and nodes on the prepared grid."""
    drawn = [_drawn(array) for array in (label.array, mask)]
    before, after = (
        float(part.sum()) * grid.voxel_ml
        for part, grid in zip(drawn, (label.grid, target), strict=True)
    )
    notes = []
    if before and abs(after / before - 1) > 0.05:
        notes.append(f"the label had {before:.2f} ml and has {after:.2f} ml at this spacing")
    had, has = (components(part)[1] for part in drawn)
    if has < had:
        notes.append(f"the label had {had} components and has {has} at this spacing")
    return tuple(notes)


def _drawn(array: np.ndarray) -> np.ndarray:
    """Return the nodes of a label, without the empty space around them."""
    mask = (array > 0) & (array != IGNORE)
    start, stop = box_of(mask)
    return mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
