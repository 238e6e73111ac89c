"""Name the organ or station that each node lies in or nearest to, from a mask of the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import KDTree

from hilum.core.case import Case
from hilum.core.geometry import nearest_index
from hilum.datasets.io.masks import read_mask
from hilum.datasets.prepare.partial_labels import organ_names
from hilum.evaluation.metrics.node_record import NodeRecord

STEP_MM = 3.0
"""How finely the mask is looked at: a place is known to half of it."""


def name_stations(nodes: Sequence[NodeRecord], case: Case) -> list[NodeRecord]:
    """Return nodes with `station` and `station_distance_mm`, from the case's mask of places.

    The mask numbers organs (as TotalSegmentator does) or node stations; `<mask>.json` next to it
    names the numbers. A node is in the place at its centroid, with distance 0, else near the
    closest. Without a mask nodes stay as they are.

    Args:
        nodes: Of `nodes.node_table`.
        case: Names the mask.
    """
    if case.anatomy is None or not nodes:
        return list(nodes)
    found = read_mask(case.anatomy, case.id)
    names, centres = organ_names(case.anatomy), np.array([n.centroid_mm for n in nodes])
    inside = _at(found.array, found.grid.to_index(centres))
    step = [max(round(STEP_MM / s), 1) for s in found.grid.spacing]
    thin = found.array[:: step[0], :: step[1], :: step[2]]
    index = np.argwhere(thin > 0)
    if not len(index):
        return list(nodes)
    far, which = KDTree(found.grid.to_world(index * step)).query(centres)
    nearest = thin[tuple(index[which].T)]
    return [
        replace(
            node,
            station=names.get(number := int(own or other), f"place {number}"),
            station_distance_mm=0.0 if own else round(float(mm), 1),
        )
        for node, own, other, mm in zip(nodes, inside, nearest, far, strict=True)
    ]


def _at(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the values at indices that need not be whole, 0 outside."""
    index = nearest_index(places)
    within = ((index >= 0) & (index < array.shape)).all(1)
    values = np.zeros(len(index), array.dtype)
    values[within] = array[tuple(index[within].T)]
    return values
