"""Lesion-wise scores: every lesion counts alike, and one that is wholly missed costs the most."""

from __future__ import annotations

import math

import numpy as np

from hilum.core.geometry import Grid

from .instances import Instances
from .surface import (
    TOLERANCE_MM,
    Nearness,
    Surface,
    distances_of,
    nsd_key,
    surface_metrics,
    to_some,
)

DISTANCES = ("hd95_mm", "masd_mm")
Surfaces = tuple[Surface, Surface, Nearness, Nearness]


def lesion_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    lesions: tuple[Instances, Instances] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    surfaces: Surfaces | None = None,
) -> dict[str, float]:
    """Return the means over lesions of Dice, HD95, MASD and surface Dice.

    Lesions are components with 26 neighbours. Each reference lesion is compared with the union of
    the predicted components that touch it. A lesion that nothing touches, and a predicted component
    that touches no lesion, each count with Dice 0, surface Dice 0 and the diagonal of the grid as
    distance. So one more missed node never improves a number, unlike the distances of whole masks.

    Source:
        BraTS 2023 lesion-wise evaluation; there lesions are dilated before they are numbered and a
        missed one costs 374 mm, here none is dilated and the diagonal of the image is the penalty.

    Args:
        prediction: Booleans `[D, H, W]`; may be cut to a box around both masks.
        reference: The same.
        grid: The whole image: its extent is the penalty.
        lesions: Of both, if they are known.
        tolerance_mm: Of the surface Dice.
        surfaces: Of both, and how near they lie, if they are known.
    """
    ours, theirs = lesions or (Instances.of(prediction), Instances.of(reference))
    if not ours.count and not theirs.count:
        names = ("dice", *DISTANCES, nsd_key(tolerance_mm))
        return {f"lesion_{name}": math.nan for name in names}
    missed = {
        "dice": 0.0,
        **dict.fromkeys(DISTANCES, grid_diagonal(grid)),
        nsd_key(tolerance_mm): 0.0,
    }
    shared = overlaps(ours, theirs)
    touching = shared[1:, 1:] > 0
    if surfaces is None and touching.any():
        one, other = (Surface.of(nodes, grid.spacing) for nodes in (ours, theirs))
        ways = Nearness.of(one, other, tolerance_mm), Nearness.of(other, one, tolerance_mm)
        surfaces = one, other, *ways
    rows: list[dict[str, float]] = []
    for number in range(1, theirs.count + 1):
        mates = np.flatnonzero(touching[:, number - 1]) + 1
        if not mates.size or surfaces is None:
            rows.append(missed)
            continue
        if ours.numbered or theirs.numbered:
            row = _apart(ours, theirs, mates, number, grid, tolerance_mm)
        else:
            row = _by_surfaces(surfaces, mates, number, tolerance_mm)
        sizes = shared[mates].sum() + shared[:, number].sum()
        rows.append(row | {"dice": 2 * float(shared[mates, number].sum()) / float(sizes)})
    rows += [missed] * int((~touching.any(1)).sum())
    return {f"lesion_{key}": math.fsum(row[key] for row in rows) / len(rows) for key in missed}


def _by_surfaces(
    surfaces: Surfaces, mates: np.ndarray, number: int, tolerance_mm: float
) -> dict[str, float]:
    """Return the distances between a lesion and predicted nodes, cut from whole surfaces."""
    one, other, there, back = surfaces
    own = np.array([number])
    ends = to_some(there, one, other, mates, own, tolerance_mm)
    found = to_some(back, other, one, own, mates, tolerance_mm)
    mm, within, areas = zip(ends, found, strict=True)
    return distances_of(mm, within, areas, tolerance_mm)


def _apart(
    ours: Instances,
    theirs: Instances,
    mates: np.ndarray,
    number: int,
    grid: Grid,
    tolerance_mm: float,
) -> dict[str, float]:
    """Return the same where nodes may touch: each has the whole of its own surface then."""
    boxes = [ours.boxes[mate - 1] for mate in mates] + [theirs.boxes[number - 1]]
    near = tuple(
        slice(min(s.start for s in sides), max(s.stop for s in sides))
        for sides in zip(*boxes, strict=True)
    )
    one, other = np.isin(ours.labels[near], mates), theirs.labels[near] == number
    return surface_metrics(one, other, grid, tolerance_mm)


def overlaps(ours: Instances, theirs: Instances) -> np.ndarray:
    """Return how many voxels the nodes of two masks share: `[ours + 1, theirs + 1]`, 0 outside."""
    inside, number = ours.voxels
    pair = number.astype(np.int64) * (theirs.count + 1) + theirs.labels.ravel()[inside]
    counts = np.bincount(pair, minlength=(ours.count + 1) * (theirs.count + 1))
    counts = counts.reshape(ours.count + 1, theirs.count + 1)
    counts[0, 1:] = theirs.sizes - counts[1:, 1:].sum(0)
    return counts


def grid_diagonal(grid: Grid) -> float:
    """Return the length in mm of the diagonal of the box that a grid's voxels fill."""
    return math.dist((0, 0, 0), grid.extent_mm)
