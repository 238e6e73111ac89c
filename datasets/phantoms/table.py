"""Tables of a phantom's nodes and distractors: what is true, and what its final PET shows.

Names ending in `_truth` come from the tracer before any scanner, names ending in `_measured` from
the final PET (blur, noise, calibration and all). Geometry is that of the CT's voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hilum.core.geometry import Grid

from .canvas import Floats
from .distractors import Distractor
from .imaging import Misregistration
from .placing import Nodes

MTV_SHARE = 0.41
"""Measured MTV counts voxels from this share of the node's measured SUVmax on."""

_ANGLES = np.radians(np.arange(0, 180, 3))


@dataclass(frozen=True)
class Scans:
    """What the rows are measured on: tracer on the CT grid, final PET, and what parts them."""

    tracer: Floats
    ct: Grid
    pet: Floats
    pet_grid: Grid
    move: Misregistration


def node_rows(nodes: Nodes, scans: Scans) -> list[dict[str, object]]:
    """Return one row per node with a voxel, in the order of the numbers in the instance label.

    Keys: `id`, `station`, `malignant`, `centre_mm` (RAS), `short_axis_mm` (of the voxels, see
    `short_axis`), `drawn_short_axis_mm` (of the ellipsoid before it was bent and moulded),
    `volume_ml`, `fatty_hilum`, `shift_mm` (where the PET shows its centre, minus where the CT
    does), and of `suv_max`, `suv_mean`, `mtv_ml` and `tlg` both `_truth` and `_measured`.
    """
    rows = []
    boxes = ndimage.find_objects(nodes.instances, max_label=len(nodes.drawn))
    for number, (node, box) in enumerate(zip(nodes.drawn, boxes, strict=True), 1):
        if box is None:
            continue
        mask = nodes.instances[box] == number
        rows.append(
            {
                "id": number,
                "station": node.station,
                "malignant": node.malignant,
                "drawn_short_axis_mm": node.short_mm,
                "fatty_hilum": node.hilum,
                **_geometry(mask, box, scans),
                **_uptake(mask, box, scans),
            }
        )
    return rows


def distractor_rows(found: Sequence[Distractor], scans: Scans) -> list[dict[str, object]]:
    """Return one row per distractor, with the keys of nodes that make sense, and its `kind`."""
    return [
        {
            "kind": one.kind,
            "station": one.station,
            "drawn_short_axis_mm": one.short_mm,
            **_geometry(one.mask, one.box, scans),
            **_uptake(one.mask, one.box, scans),
        }
        for one in found
    ]


def short_axis(mask: NDArray[np.bool_], grid: Grid) -> float:
    """Return the short axis in mm of a mask `[D, H, W]` whose first axis is the axial one.

    Of the axial slice with the longest diameter: the extent at right angles to that diameter.
    Extents are between voxel centres plus half a voxel (as a smooth outline loses on average), at
    smallest one voxel, in 60 directions.

    Source:
        RECIST 1.1 (Eisenhauer et al. 2009) in the discrete form of node measures; callipers
        instead of a chord, which is the same for convex nodes.
    """
    _, sy, sx = grid.spacing
    ways = np.stack([np.sin(_ANGLES) * sy, np.cos(_ANGLES) * sx])
    own = np.sqrt((ways**2).sum(0))
    longest, short = -1.0, 0.0
    for part in mask:
        points = np.argwhere(part)
        if not len(points):
            continue
        along = points @ ways
        extent = np.maximum(along.max(0) - along.min(0) + own / 2, own)
        best = int(np.argmax(extent))
        if extent[best] > longest:
            longest = float(extent[best])
            short = float(extent[(best + len(_ANGLES) // 2) % len(_ANGLES)])
    return short


def _geometry(mask: NDArray[np.bool_], box: tuple[slice, ...], scans: Scans) -> dict[str, object]:
    index = np.argwhere(mask) + [part.start for part in box]
    centre = scans.ct.to_world(index.mean(0))
    return {
        "centre_mm": centre.round(3).tolist(),
        "short_axis_mm": short_axis(mask, scans.ct),
        "volume_ml": float(mask.sum() * scans.ct.voxel_ml),
        "shift_mm": scans.move.at(centre).round(4).tolist(),
    }


def _uptake(mask: NDArray[np.bool_], box: tuple[slice, ...], scans: Scans) -> dict[str, float]:
    """Return SUVs; the measured ones where the PET shows the node, not where the CT does."""
    truth = scans.tracer[box][mask]
    world = scans.ct.to_world(np.argwhere(mask) + [part.start for part in box])
    places = scans.pet_grid.to_index(world + scans.move.at(world))
    seen = ndimage.map_coordinates(scans.pet, places.T, order=1, mode="nearest")
    inside = seen[seen >= MTV_SHARE * seen.max()]
    voxel = scans.ct.voxel_ml
    return {
        "suv_max_truth": float(truth.max()),
        "suv_mean_truth": float(truth.mean()),
        "mtv_ml_truth": float(mask.sum() * voxel),
        "tlg_truth": float(truth.sum() * voxel),
        "suv_max_measured": float(seen.max()),
        "suv_mean_measured": float(seen.mean()),
        "mtv_ml_measured": float(len(inside) * voxel),
        "tlg_measured": float(inside.sum() * voxel),
    }
