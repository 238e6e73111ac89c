"""Distances between the surfaces of two masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from monai.metrics.utils import create_table_neighbour_code_to_surface_area
from scipy.spatial import KDTree

from hilum.core.geometry import Grid

from .instances import Instances

TOLERANCE_MM = 2.0
"""Usual tolerance of the surface Dice, about the spacing of the scans."""

_CORNERS = np.stack(np.meshgrid(*[(0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
"""The eight voxels around a corner, in the order of the bits of a code, the highest first."""


@dataclass(frozen=True)
class Surface:
    """Both forms of the surface of a mask, in mm; a piece belongs to one node.

    Attributes:
        voxels: Centres of the voxels that have a face neighbour outside, `[N, 3]`.
        nodes: Node of each.
        corners: Corners of voxels that the surface goes around, `[M, 3]`.
        areas: Area of the surface around each, in mm2.
        corner_nodes: Node of each.
        count: Nodes of the mask.
    """

    voxels: np.ndarray
    nodes: np.ndarray
    corners: np.ndarray
    areas: np.ndarray
    corner_nodes: np.ndarray
    count: int

    @classmethod
    def of(cls, nodes: Instances, spacing: tuple[float, float, float]) -> Surface:
        """Find the surfaces of the nodes of a mask."""
        padded = np.pad(nodes.labels, 1)
        flat = padded.ravel()
        inside = np.flatnonzero(flat > 0)
        _, height, width = padded.shape
        inner = np.ones(len(inside), bool)
        for step in (1, width, height * width):
            inner &= (flat[inside - step] > 0) & (flat[inside + step] > 0)
        surface = inside[~inner]
        steps = _CORNERS @ np.array([height * width, width, 1])
        # A corner is named by the first of its voxels; each has a surface voxel beside it.
        corners = np.unique((surface[:, None] - steps).ravel())
        code, owner = np.zeros((2, len(corners)), np.int64)
        for step in steps:
            there = flat[corners + step]
            code = 2 * code + (there > 0)
            owner = np.maximum(owner, there)
        areas = _areas(spacing)[code]
        real = areas > 0
        scale = np.asarray(spacing)
        places = [np.stack(np.unravel_index(x, padded.shape), 1) for x in (surface, corners[real])]
        voxels, around = places[0] * scale, places[1] * scale
        return cls(voxels, flat[surface], around, areas[real], owner[real], nodes.count)


@dataclass(frozen=True)
class Nearness:
    """How near each piece of one surface lies to another.

    Attributes:
        mm: Of each voxel to the nearest of the other.
        node: Node of that.
        within: Whether each corner has one of the other within the tolerance.
        corner_node: Node of the nearest such corner; 0 without.
    """

    mm: np.ndarray
    node: np.ndarray
    within: np.ndarray
    corner_node: np.ndarray

    @classmethod
    def of(cls, one: Surface, other: Surface, tolerance_mm: float) -> Nearness:
        """Measure them."""
        mm, nearest = KDTree(other.voxels).query(one.voxels)
        # Only whether something is near is asked, which is much faster than how far it is.
        tree = KDTree(other.corners)
        _, corner = tree.query(one.corners, distance_upper_bound=_reach(tolerance_mm))
        owners = np.append(other.corner_nodes, 0)
        within = np.asarray(corner < len(other.corners))
        return cls(mm, other.nodes[nearest], within, owners[corner])


def surface_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    tolerance_mm: float = TOLERANCE_MM,
) -> dict[str, float]:
    """Return HD95, MASD, ASSD and the normalised surface Dice of two masks that are not empty.

    For distances, surfaces are the mask's voxels with a face neighbour outside of it (or outside of
    the image), from centre to centre in mm, each voxel counting alike, as in MONAI and MedPy. MASD
    is the mean of the two directed mean distances; ASSD the mean of all distances of both
    directions, so that the larger surface weighs more.

    For the surface Dice, the surface is that between voxels, each piece weighted by its area and
    lying at the corner of voxels that it goes around.

    Source:
        Maier-Hein et al., Nature Methods 2024 (Metrics Reloaded: names of MASD and ASSD); Nikolov
        et al., arXiv:1809.04430 (surface Dice), whose table of areas MONAI has.

    Args:
        prediction: Booleans `[D, H, W]`.
        reference: The same.
        grid: Where they lie.
        tolerance_mm: Distance that counts as touching.
    """
    one, other = (Surface.of(Instances.of(m), grid.spacing) for m in (prediction, reference))
    ways = Nearness.of(one, other, tolerance_mm), Nearness.of(other, one, tolerance_mm)
    areas = one.areas, other.areas
    return distances_of(
        (ways[0].mm, ways[1].mm), (ways[0].within, ways[1].within), areas, tolerance_mm
    )


def distances_of(
    mm: tuple[np.ndarray, np.ndarray],
    within: tuple[np.ndarray, np.ndarray],
    areas: tuple[np.ndarray, np.ndarray],
    tolerance_mm: float,
) -> dict[str, float]:
    """Return the metrics of `surface_metrics` from distances in both directions."""
    there, back = mm
    near = sum(float(area[good].sum()) for area, good in zip(areas, within, strict=True))
    return {
        "hd95_mm": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "masd_mm": float((there.mean() + back.mean()) / 2),
        "assd_mm": float((there.sum() + back.sum()) / (len(there) + len(back))),
        nsd_key(tolerance_mm): near / float(areas[0].sum() + areas[1].sum()),
    }


def to_some(
    way: Nearness, one: Surface, other: Surface, mine: np.ndarray, theirs: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances, whether within the tolerance, and areas from some nodes to some others.

    What lies nearest of all is nearest of some if it is one of them; the rest is looked up.

    Args:
        way: From one surface to the other.
        one: Where distances begin.
        other: Where they end.
        mine: Nodes of the one.
        theirs: Nodes of the other.
        reach: Tolerance in mm.
    """
    ours, wanted = np.zeros((2, 1 + max(one.count, other.count)), bool)
    ours[mine], wanted[theirs] = True, True
    chosen = ours[one.nodes]
    mm, lost = way.mm[chosen], ~wanted[way.node[chosen]]
    if lost.any():
        mm[lost] = KDTree(other.voxels[wanted[other.nodes]]).query(one.voxels[chosen][lost])[0]
    chosen = ours[one.corner_nodes]
    within, lost = way.within[chosen], ~wanted[way.corner_node[chosen]]
    lost &= within
    if lost.any():
        tree = KDTree(other.corners[wanted[other.corner_nodes]])
        far = tree.query(one.corners[chosen][lost], distance_upper_bound=_reach(reach))[0]
        within[lost] = np.isfinite(far)
    return mm, within, one.areas[chosen]


def nsd_key(tolerance_mm: float) -> str:
    """Return the name of the surface Dice at a tolerance."""
    return f"nsd_{tolerance_mm:g}mm"


def _reach(tolerance_mm: float) -> float:
    """Return the tolerance with room for rounding: a distance equal to it counts."""
    return tolerance_mm * (1 + 1e-6) + 1e-9


@lru_cache(maxsize=64)
def _areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the area of the surface around a corner by the code of its eight voxels."""
    table, kernel = create_table_neighbour_code_to_surface_area(spacing)
    bits = kernel.numpy().reshape(2, 2, 2)[tuple(_CORNERS.T)].astype(int)
    ours = (np.arange(256)[:, None] >> np.arange(7, -1, -1)) & 1
    return table.numpy().astype(float)[ours @ bits]
