"""What a raw case must be like to be prepared, and what the user should know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.notes import Note

from ..io.boxes import box_of
from ..io.mask_values import how, refuse_sentinels, remedy_for
from ..io.nifti import Volume
from ..raters.shares import MOST_CLASSES

STORED = {
    "HU": (-1024.0, 3071.0),
    "SUV": (0.0, 1000.0),
    "um2/s": (0.0, 10_000.0),
    "a.u.": (-100.0, 100.0),
}
"""What float16 keeps well, and what no patient exceeds."""
NOISE = {"HU": 100.0, "SUV": 0.1}
"""How far the noise of air, or a spline, goes below the lower bound of what a store keeps."""
USUAL = 1e-3
"""Fraction of clipped voxels that metal explains."""
FEW = 1e-4
"""Share of voxels that may leave the plausible range: a hot catheter, not another unit."""


def check_values(case: Case, name: str, volume: Volume) -> list[Note]:
    """Return a note if a few voxels are implausible.

    Raises:
        DataError: If many are: the unit is wrong, or the file damaged.
    """
    rule = modality(name)
    low, high = float(volume.array.min()), float(volume.array.max())
    if rule.plausible[0] <= low and high <= rule.plausible[1] and low < high:
        return []
    beyond = sum(
        int(np.count_nonzero((part < rule.plausible[0]) | (part > rule.plausible[1])))
        for part in volume.array
    )
    if low < high and beyond <= FEW * volume.array.size:
        text = (
            f"{name} has {beyond} voxels beyond {rule.plausible[0]:g} to {rule.plausible[1]:g} "
            f"{rule.unit} ({low:.4g} to {high:.4g}): look at them"
        )
        return [Note("warning", f"implausible values of {name}", text, case.id)]
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


def check_classes(case: Case, label: Volume, file: Path | None = None) -> None:
    """Raise an error if the values of a label are no classes, or mark nothing but unknown.

    Args:
        case: Whose label it is.
        label: To be checked.
        file: It is from; the case's if not given.
    """
    file = file or case.label
    refuse_sentinels(label.array, case.id, file)
    high = int(label.array.max(initial=0, where=label.array != IGNORE))
    if high > MOST_CLASSES:
        raise DataError(
            "label values must be 0, classes from 1 on, or 255 for unknown",
            case=case.id,
            file=file,
            found=high,
            remedy=how(remedy_for(_beyond(label.array)), "if they mark classes"),
        )
    if case.annotated:
        drawn = np.unique(label.array)
        others = [int(v) for v in drawn if v not in (0, IGNORE, *case.annotated)]
        if others:
            raise DataError(
                "a label must hold only the classes that it was annotated for",
                case=case.id,
                file=file,
                found=", ".join(map(str, others)),
                remedy="add them to the column annotated of the manifest, or mend the mask",
            )


def _beyond(array: np.ndarray) -> list[float]:
    """Return the values that are no classes."""
    return [float(v) for v in np.unique(array) if v > MOST_CLASSES and v != IGNORE][:6]


def label_notes(case: str, label: Volume, mask: np.ndarray, target: Grid) -> list[Note]:
    """Return what became of the label's volume and nodes on the prepared grid."""
    drawn = [_drawn(array) for array in (label.array, mask)]
    before, after = (
        float(part.sum()) * grid.voxel_ml
        for part, grid in zip(drawn, (label.grid, target), strict=True)
    )
    notes = []
    if before and abs(after / before - 1) > 0.05:
        text = f"the label had {before:.2f} ml and has {after:.2f} ml at this spacing"
        notes.append(Note("warning", "volume of the label changed by over 5 %", text, case))
    had, has = (components(part)[1] for part in drawn)
    if has < had:
        text = f"the label had {had} components and has {has} at this spacing"
        notes.append(Note("warning", "nodes vanished or merged at this spacing", text, case))
    return notes


def _drawn(array: np.ndarray) -> np.ndarray:
    """Return the nodes of a label, without the empty space around them."""
    mask = (array > 0) & (array != IGNORE)
    start, stop = box_of(mask)
    return mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]


@dataclass(frozen=True)
class Clipped:
    """Voxels of a modality beyond what a store keeps.

    Attributes:
        below: How many lie below the lower bound.
        above: How many lie above the upper bound.
        voxels: How many there are.
        low: Lowest value seen.
        high: Highest value seen.
    """

    below: int = 0
    above: int = 0
    voxels: int = 0
    low: float = np.inf
    high: float = -np.inf

    def plus(self, part: np.ndarray, least: float, most: float) -> Clipped:
        """Return the count with one more part of the scan."""
        low, high = float(part.min()), float(part.max())
        return Clipped(
            # Counting takes a pass of its own, which a sound scan does not need.
            self.below + (int(np.count_nonzero(part < least)) if low < least else 0),
            self.above + (int(np.count_nonzero(part > most)) if high > most else 0),
            self.voxels + part.size,
            min(self.low, low),
            max(self.high, high),
        )


def clipped_notes(case: str, clipped: Mapping[str, Clipped]) -> list[Note]:
    """Return a note for each modality whose values were clipped.

    Padding of a CT and metal in few voxels are usual, and told as information; more is a warning.
    The noise of air does not count.
    """
    notes = []
    for name, found in clipped.items():
        least, most = STORED[modality(name).unit]
        count = found.below + found.above
        if not count:
            continue
        text = (
            f"{count} voxels of {name} ({count / found.voxels:.2%}) clipped to {least:g} to "
            f"{most:g} {modality(name).unit}, found {found.low:.5g} to {found.high:.5g}"
        )
        usual = found.above <= USUAL * found.voxels and (
            modality(name).unit == "HU" or found.below <= USUAL * found.voxels
        )
        notes.append(Note("info" if usual else "warning", f"{name} clipped", text, case))
    return notes
