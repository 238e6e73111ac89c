"""A record per node of a mask: where it is, how large, and how much tracer it takes up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from hilum.core.geometry import Grid

from .axes import axes_mm
from .instances import Box, Instances
from .node_record import NodeRecord
from .uptake_of_node import Uptake, uptake_of_node

Image = np.ndarray | tuple[np.ndarray, Grid]
"""Physical values `[D, H, W]` on the grid of the mask, or with a grid of their own."""


class Scores(TypedDict, total=False):
    """Columns that the maps of a prediction give."""

    probability: float
    probability_max: float
    uncertainty: float


class Place(TypedDict, total=False):
    """Columns that names of places give."""

    station: str
    station_distance_mm: float


def node_table(
    mask: np.ndarray | Instances,
    grid: Grid,
    volumes: Mapping[str, Image] | None = None,
    *,
    probability: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
    stations: Mapping[str, Sequence[float]] | None = None,
) -> list[NodeRecord]:
    """Measure every node, the largest first.

    A node is a connected component (26 neighbours) of one class: classes that touch are apart.

    Args:
        mask: Whole numbers or booleans `[D, H, W]`; 0 is background, 255 unknown. Or its nodes,
            whose numbers the records then have.
        grid: Where it lies; axial slices are those along its first axis.
        volumes: Physical images for uptake (`pet`) and density (`ct`). PET is measured on its own
            grid (see `uptake_of_node`); the CT must lie on that of the mask.
        probability: Of the foreground, `[D, H, W]`; adds its mean and maximum in the node.
        uncertainty: Any unit, `[D, H, W]`; adds its mean in the node.
        stations: RAS mm of named places; adds the nearest one and its distance to the centroid.
    """
    nodes = mask if isinstance(mask, Instances) else Instances.of(mask)
    found: list[NodeRecord] = []
    for number, (label, box) in enumerate(zip(nodes.classes, nodes.boxes, strict=True), 1):
        inside = nodes.labels[box] == number
        start = np.array([s.start for s in box])
        centre = grid.to_world(np.argwhere(inside).mean(0) + start)
        long_mm, short_mm = axes_mm(inside, grid.spacing)
        x, y, z = (round(float(v), 2) for v in centre)
        record = NodeRecord(
            id=number,
            label=label,
            centroid_mm=(x, y, z),
            volume_ml=float(np.count_nonzero(inside) * grid.voxel_ml),
            long_axis_mm=long_mm,
            short_axis_mm=short_mm,
            size_class=size_class(short_mm),
            hu_mean=_density(inside, box, volumes or {}),
            **_scores(inside, box, probability, uncertainty),
            **_nearest(centre, stations),
        )
        uptake = _uptake(inside, box, grid, volumes or {})
        found.append(replace(record, **uptake) if uptake else record)
    return found


def n_features(nodes: Sequence[NodeRecord]) -> dict[str, float]:
    """Return what staging asks of a patient: number of nodes, the largest, the total volume.

    Lengths are in mm, the volume in ml; without nodes all are 0.

    Args:
        nodes: The patient's `node_table`.
    """
    return {
        "nodes": float(len(nodes)),
        "max_long_axis_mm": max((node.long_axis_mm for node in nodes), default=0.0),
        "max_short_axis_mm": max((node.short_axis_mm for node in nodes), default=0.0),
        "total_volume_ml": math.fsum(node.volume_ml for node in nodes),
    }


def size_class(short_axis_mm: float) -> str:
    """Return the RECIST 1.1 class of a node by its short axis."""
    if short_axis_mm < 10:
        return "normal size (< 10 mm)"
    return "enlarged (10-15 mm)" if short_axis_mm < 15 else "measurable (>= 15 mm)"


def _uptake(
    inside: np.ndarray, box: Box, grid: Grid, volumes: Mapping[str, Image]
) -> Uptake | None:
    if "pet" not in volumes:
        return None
    pet = volumes["pet"]
    array, own = pet if isinstance(pet, tuple) else (pet, grid)
    return uptake_of_node(inside, box, grid, array, own)


def _density(inside: np.ndarray, box: Box, volumes: Mapping[str, Image]) -> float | None:
    ct = volumes.get("ct")
    if ct is None:
        return None
    array = ct[0] if isinstance(ct, tuple) else ct
    return float(array[box][inside].astype(float).mean())


def _scores(
    inside: np.ndarray,
    box: Box,
    probability: np.ndarray | None,
    uncertainty: np.ndarray | None,
) -> Scores:
    found = Scores()
    if probability is not None:
        values = probability[box][inside].astype(float)
        found["probability"] = float(values.mean())
        found["probability_max"] = float(values.max())
    if uncertainty is not None:
        found["uncertainty"] = float(uncertainty[box][inside].astype(float).mean())
    return found


def _nearest(centre: np.ndarray, stations: Mapping[str, Sequence[float]] | None) -> Place:
    if not stations:
        return Place()
    far = {name: math.dist(centre, place) for name, place in stations.items()}
    name = min(far, key=lambda station: far[station])
    return Place(station=name, station_distance_mm=far[name])
