"""Lesion-wise scores: every lesion counts alike, and one that is wholly missed costs the most."""

from __future__ import annotations

import math

import numpy as np

from hilum.core.geometry import Grid

from .instances import Instances
from .surface import surface_metrics

DISTANCES = ("hd95_mm", "assd_mm", "nsd_2mm")


def lesion_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    lesions: tuple[Instances, Instances] | None = None,
) -> dict[str, float]:
    """Return the means over lesions of Dice, HD95, ASSD and surface Dice.

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
    """
    ours, theirs = lesions or (Instances.of(prediction), Instances.of(reference))
    both = reference & prediction
    pairs = np.unique(np.stack([theirs.labels[both], ours.labels[both]]), axis=1)
    missed = {
        "dice": 0.0,
        "hd95_mm": grid_diagonal(grid),
        "assd_mm": grid_diagonal(grid),
        "nsd_2mm": 0.0,
    }
    rows: list[dict[str, float]] = []
    for number in range(1, theirs.count + 1):
        mates = pairs[1][pairs[0] == number]
        if not mates.size:
            rows.append(missed)
            continue
        box = _around([theirs.boxes[number - 1], *(ours.boxes[m - 1] for m in mates)])
        found, truth = np.isin(ours.labels[box], mates), theirs.labels[box] == number
        rows.append(_pair(found, truth, grid))
    rows += [missed] * (ours.count - len(set(pairs[1].tolist())))
    names = {name: f"lesion_{name}" for name in ("dice", *DISTANCES)}
    return {
        name: math.fsum(row[key] for row in rows) / len(rows) if rows else math.nan
        for key, name in names.items()
    }


def grid_diagonal(grid: Grid) -> float:
    """Return the length in mm of the diagonal of the box that a grid's voxels fill."""
    return math.dist((0, 0, 0), grid.extent_mm)


def _pair(p: np.ndarray, g: np.ndarray, grid: Grid) -> dict[str, float]:
    found = surface_metrics(p, g, grid)
    dice = 2 * float((p & g).sum()) / float(p.sum() + g.sum())
    return {"dice": dice, **{name: found[name] for name in DISTANCES}}


def _around(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    return tuple(
        slice(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(3)
    )
