"""Take predictions back to the grid of the file they came from, and measure the nodes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.datasets.io.boxes import box_of
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.io.resampling import resample, slabs
from hilum.datasets.prepare.case import restore_probability
from hilum.datasets.store.case_store import PreparedCase
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.metrics.nodes import Image, n_features, node_table

from ..operating.apply import clean, decide, pet_of
from ..operating.point import ARGMAX, OperatingPoint
from ..operating.regions import Regions

AROUND_MM = 15.0
"""Kept around the nodes when they are measured."""


@dataclass(frozen=True)
class Maps:
    """What is predicted for a case, on its prepared grid; large arrays lie in temporary files.

    Attributes:
        foreground: float32 `[classes - 1, D, H, W]`, probability of each class but the background.
        mask: uint8 `[D, H, W]`, the class at the operating point.
        uncertainty: float32 `[D, H, W]`, if asked for.
        overlapping: Whether a voxel may be of several classes.
    """

    foreground: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None = None
    overlapping: bool = False

    @property
    def either(self) -> np.ndarray:
        """Probability that a voxel is of any class, float32 `[D, H, W]`."""
        if len(self.foreground) == 1:
            return self.foreground[0]
        return self.foreground.max(0) if self.overlapping else self.foreground.sum(0)


def mask_on_source(
    foreground: np.ndarray,
    prepared: PreparedCase,
    point: OperatingPoint | None = None,
    names: Sequence[str] | None = None,
    regions: Regions | None = None,
) -> np.ndarray:
    """Return the class of each voxel of the original grid; background outside.

    Probabilities are interpolated, not masks, so that borders stay as fine as they were predicted;
    slab by slab, so that only a few slices of them are in memory.

    Args:
        foreground: `[classes - 1, D, H, W]` on `prepared.grid`: all but the background, which has
            the rest.
        prepared: The case that it belongs to.
        point: How to decide; the most probable class if not given.
        names: Modalities that were used: a floor of uptake looks at no other.
        regions: What the classes are, if they may overlap.

    Returns:
        uint8 on `prepared.source_grid`.
    """
    point = point or ARGMAX
    mask = np.zeros(prepared.source_grid.shape, np.uint8)
    for rows, slab in slabs(prepared.source_grid):
        parts = (resample(one, prepared.grid, slab, antialias=False) for one in foreground)
        mask[rows] = decide(parts, point, regions=regions)
    clean(mask, prepared.source_grid, point, pet_of(prepared, names), regions)
    return mask


def map_on_source(values: np.ndarray, prepared: PreparedCase) -> np.ndarray:
    """Return a map of 0 to 1 on the original grid, to three decimals (they compress well)."""
    found = restore_probability(values, prepared)
    return np.round(found, 3, out=found)


def nodes_on_source(
    mask: np.ndarray,
    grid: Grid,
    case: Case,
    prepared: PreparedCase | None = None,
    maps: Maps | None = None,
    regions: Regions | None = None,
) -> list[NodeRecord]:
    """Measure the nodes of a mask on its own grid, with uptake from the original files.

    PET is measured on its own grid, which keeps its extremes; density on that of the mask. Nodes of
    a region are the components of all its values, so that one voxel may be of several nodes.

    Args:
        mask: Whole numbers on `grid`.
        grid: Of the reference file.
        case: Names the files.
        prepared: With `maps`: says where they lie.
        maps: Add probability and, if it is there, uncertainty of each node.
        regions: What the classes are, if they may overlap: each has its rows, numbered on.
    """
    canonical, axes, flips = grid.canonical()
    turned = np.flip(mask.transpose(axes), tuple(axis for axis in range(3) if flips[axis]))
    if not turned.any():
        return []
    start, stop = box_of(turned > 0)
    margin = [int(np.ceil(AROUND_MM / s)) for s in canonical.spacing]
    low = [max(a - m, 0) for a, m in zip(start, margin, strict=True)]
    high = [min(b + m, n) for b, m, n in zip(stop, margin, turned.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cut = turned[box]
    d, h, w = cut.shape
    around = canonical.crop((low[0], low[1], low[2]), (d, h, w))
    volumes: dict[str, Image] = {}
    for name, file in case.volumes.items():
        volume = read_volume(file, case.id)
        if modality(name).unit == "SUV":
            volumes[name] = volume
        elif name == "ct":
            volumes[name] = resample(volume.array, volume.grid, around, fill=modality(name).fill)
    each, uncertainty = list[np.ndarray](), None
    if prepared is not None and maps is not None:
        each = [resample(one, prepared.grid, around, antialias=False) for one in maps.foreground]
        if maps.uncertainty is not None:
            uncertainty = resample(maps.uncertainty, prepared.grid, around, antialias=False)
    if regions is None:
        total = np.sum(each, 0) if each else None
        return node_table(cut, around, volumes, probability=total, uncertainty=uncertainty)
    found: list[NodeRecord] = []
    for number, name in enumerate(regions.names, 1):
        own = each[number - 1] if each else None
        one = regions.one(cut, number)
        rows = node_table(one, around, volumes, probability=own, uncertainty=uncertainty)
        first = len(found)
        found += [replace(row, id=first + row.id, label=number, region=name) for row in rows]
    return found


def features_of(
    nodes: Sequence[NodeRecord], regions: Regions | None
) -> dict[str, float] | dict[str, dict[str, float]]:
    """Return what staging asks of a patient, of each region by its name where there are regions."""
    if regions is None:
        return n_features(nodes)
    return {name: n_features([n for n in nodes if n.region == name]) for name in regions.names}
