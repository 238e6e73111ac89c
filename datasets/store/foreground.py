"""The nodes of a label: one entry per component, and voxels to aim patches at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hilum.core.case import IGNORE
from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator

POINTS_PER_NODE = 1000


class Foreground(NamedTuple):
    """Up to 1000 voxels of each node: indices, node number, class."""

    points: np.ndarray
    node: np.ndarray
    label: np.ndarray


def nodes_of(
    label: np.ndarray, grid: Grid, case: str
) -> tuple[list[dict[str, object]], Foreground]:
    """Return each component (26 neighbours) of each class, and voxels to aim patches at."""
    generator = numpy_generator(0, "foreground", case)
    nodes: list[dict[str, object]] = []
    points, numbers, classes = [], [], []
    for value in np.unique(label[(label > 0) & (label != IGNORE)]):
        parts, _ = components(label == value)
        for index, box in enumerate(ndimage.find_objects(parts), 1):
            inside = np.argwhere(parts[box] == index) + [s.start for s in box]
            chosen = inside
            if len(inside) > POINTS_PER_NODE:
                chosen = inside[np.sort(generator.permutation(len(inside))[:POINTS_PER_NODE])]
            points.append(chosen)
            numbers.append(np.full(len(chosen), len(nodes)))
            classes.append(np.full(len(chosen), value))
            nodes.append(
                {
                    "class": int(value),
                    "voxels": len(inside),
                    "volume_ml": len(inside) * grid.voxel_ml,
                    "centre_mm": grid.to_world(inside.mean(0)).tolist(),
                    "box": [[s.start for s in box], [s.stop for s in box]],
                }
            )
    empty = np.zeros((0, 3))
    return nodes, Foreground(
        np.concatenate(points or [empty]).astype(np.int16),
        np.concatenate(numbers or [empty[:, 0]]).astype(np.int32),
        np.concatenate(classes or [empty[:, 0]]).astype(np.uint8),
    )
