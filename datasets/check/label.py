"""Does a label fit its case: grid, size, components, and what lies under it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, nearest_index

from ..io.boxes import box_of
from ..io.lattice import place_mask, scan_of
from ..io.mask_values import refuse_sentinels
from ..io.nifti import Volume
from .geometry import inside
from .report import Problem

TINY_VOXELS = 3
AIR_HU = -300.0


def on_scan(case: Case, label: Volume, grids: dict[str, Grid]) -> tuple[str, Volume, list[Problem]]:
    """Return the modality that the label was drawn on, the label on its grid, and what is wrong.

    The name is empty if the label lies on no modality's lattice.
    """
    name = ""
    try:
        name = scan_of(label.grid, grids, case=case.id, file=case.label)
        placed, notes = place_mask(label, grids[name], case=case.id, file=case.label)
    except DataError as error:
        return name, label, [Problem.of(error, case.id)]
    return name, placed, [Problem.of_note(note) for note in notes]


def label_facts(label: Volume) -> dict[str, Any]:
    """Return values, volume and number of components (26 neighbours) of a mask."""
    values = [int(value) for value in np.unique(label.array)]
    classes = [value for value in values if value not in (0, IGNORE)]
    # Labelling is slow in proportion to the array, and masks are small.
    start, stop = box_of(label.array > 0)
    box = label.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    sizes: list[int] = []
    for value in classes[:50]:
        parts, _ = components(box == value)
        sizes += np.bincount(parts.ravel())[1:].tolist()
    return {
        "values": values,
        "volume_ml": round(sum(sizes) * label.grid.voxel_ml, 3),
        "components": len(sizes),
        "tiny_components": sum(size < TINY_VOXELS for size in sizes),
    }


def label_problems(
    case: Case, label: Volume, facts: dict[str, Any], volumes: dict[str, Volume]
) -> Iterator[Problem]:
    """Yield what is odd about a mask; which values are allowed is for the cohort to say."""
    try:
        refuse_sentinels(label.array, case.id, case.label)
    except DataError as error:
        yield Problem.of(error, case.id)
        return
    unknown = int(np.count_nonzero(label.array == IGNORE))
    if unknown:
        ml = unknown * label.grid.voxel_ml
        yield Problem(
            case.id, "info", f"voxels of {IGNORE} count as unknown", f"{unknown} ({ml:.3g} ml)"
        )
    share = float(np.mean((label.array > 0) & (label.array != IGNORE)))
    # A patient without disease is no mistake in a test set; while training it teaches little.
    if not share and case.split != "test":
        remedy = "is it the right mask? an unlabelled case has no label file"
        yield Problem(case.id, "warn", "the label should not be empty", str(case.label), remedy)
    if share > 0.5:
        remedy = "are background and foreground swapped?"
        yield Problem(case.id, "warn", "the label should be small", f"{share:.0%}", remedy)
    if facts["tiny_components"]:
        yield Problem(
            case.id,
            "warn",
            f"components of the label should have {TINY_VOXELS} voxels",
            f"{facts['tiny_components']} of {facts['components']} are smaller",
            "remove specks; each would count as a node",
        )
    yield from _below(case.id, label, volumes)


def _below(case: str, label: Volume, volumes: dict[str, Volume]) -> Iterator[Problem]:
    """Yield modalities that do not see the label, and a CT that shows air there."""
    where = np.argwhere((label.array > 0) & (label.array != IGNORE))
    if not len(where):
        return
    world = label.grid.to_world(where[:: max(1, len(where) // 5000)])
    for name, volume in volumes.items():
        seen = inside(world, volume.grid)
        if seen.mean() < 0.95:
            yield Problem(
                case,
                "warn",
                f"{name} should show the whole label",
                f"{1 - seen.mean():.0%} of it outside",
                f"there, {name} cannot help",
            )
        if name == "ct" and seen.any():
            index = nearest_index(volume.grid.to_index(world[seen]))
            index = index.clip(0, np.asarray(volume.grid.shape) - 1)
            middle = float(np.median(volume.array[tuple(index.T)]))
            if middle < AIR_HU:
                yield Problem(
                    case,
                    "warn",
                    "the label should lie in tissue",
                    f"a median of {middle:.0f} HU in it",
                    "is the mask mirrored, or of another scan?",
                )
