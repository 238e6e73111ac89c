"""One row per node of a mask: where it is, how large, and how much tracer it takes up."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform

from ..core.components import components
from ..core.files import write_json, write_text
from ..core.geometry import Grid

Row = dict[str, float | int | str | list[float]]

PEAK_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
"""Radius of a sphere of 1 ml."""


def node_table(
    mask: np.ndarray, grid: Grid, volumes: Mapping[str, np.ndarray] | None = None
) -> list[Row]:
    """Measure every connected component (26 neighbours), the largest first.

    Short and long axis follow RECIST 1.1: on the axial slice where the node is longest, the longest
    diameter, and the longest one at right angles to it, between the outer edges of voxels. SUVpeak
    is the highest mean over a sphere of 1 ml whose centre is in the node (PERCIST 1.0).

    Args:
        mask: Whole numbers or booleans `[D, H, W]`; 0 is background.
        grid: Where it lies; axial slices are those along its first axis.
        volumes: Physical images on the same grid, for uptake (`pet`) and density (`ct`).

    Returns:
        Plain rows: `id, centroid_mm, volume_ml, long_axis_mm, short_axis_mm, size_class`, and with
        images `suv_max, suv_mean, suv_peak, mtv_ml, tlg, hu_mean`.
    """
    labels, _ = components(mask > 0)
    boxes = ndimage.find_objects(labels)
    found = []
    for number, box in enumerate(boxes, 1):
        inside = labels[box] == number
        start = np.array([s.start for s in box])
        long_mm, short_mm = axes_mm(inside, grid.spacing)
        row: Row = {
            "id": 0,
            "centroid_mm": [
                round(float(v), 2) for v in grid.to_world(np.argwhere(inside).mean(0) + start)
            ],
            "volume_ml": float(inside.sum() * grid.voxel_ml),
            "long_axis_mm": long_mm,
            "short_axis_mm": short_mm,
            "size_class": size_class(short_mm),
            "label": int(mask[box][inside].flat[0]),
        }
        found.append(row | _uptake(inside, box, grid, volumes or {}))
    found.sort(key=lambda row: -float(row["volume_ml"]))  # pyright: ignore[reportArgumentType]
    for number, row in enumerate(found, 1):
        row["id"] = number
    return found


def axes_mm(inside: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Return the long and the short axis of one node in mm.

    Args:
        inside: Booleans `[D, H, W]`, cut to the node.
        spacing: mm along depth, height, width.
    """
    best = (0.0, 0.0)
    for part in inside:
        if part.any():
            best = max(best, _axes_of_slice(part, spacing[1], spacing[2]))
    return best


def size_class(short_axis_mm: float) -> str:
    """Return the RECIST 1.1 class of a node by its short axis."""
    if short_axis_mm < 10:
        return "normal size (< 10 mm)"
    return "enlarged (10-15 mm)" if short_axis_mm < 15 else "measurable (>= 15 mm)"


def write_nodes(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write `<name>_nodes.csv` and `<name>_nodes.json`."""
    write_json(folder / f"{name}_nodes.json", list(rows))
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["id"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: " ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in row.items()
            }
        )
    write_text(folder / f"{name}_nodes.csv", text.getvalue())


def _axes_of_slice(part: np.ndarray, height_mm: float, width_mm: float) -> tuple[float, float]:
    """Return the diameters of one slice between the corners of its voxels."""
    index = np.argwhere(part)
    corners = (index[:, None, :] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2)
    points = np.unique(corners, axis=0) * np.array([height_mm, width_mm])
    with contextlib.suppress(QhullError):
        points = points[ConvexHull(points).vertices]
    distances = squareform(pdist(points))
    a, b = np.unravel_index(np.argmax(distances), distances.shape)
    along = (points[b] - points[a]) / distances[a, b]
    # The short axis: how far the slice reaches at right angles to the long one.
    across = points @ np.array([-along[1], along[0]])
    return float(distances[a, b]), float(across.max() - across.min())


def _uptake(
    inside: np.ndarray, box: tuple[slice, ...], grid: Grid, volumes: Mapping[str, np.ndarray]
) -> Row:
    row: Row = {}
    if "pet" in volumes:
        values = volumes["pet"][box][inside].astype(float)
        volume = float(inside.sum() * grid.voxel_ml)
        row |= {
            "suv_max": float(values.max()),
            "suv_mean": float(values.mean()),
            "suv_peak": _peak(volumes["pet"], inside, box, grid),
            "mtv_ml": volume,
            "tlg": float(values.mean() * volume),
        }
    if "ct" in volumes:
        row["hu_mean"] = float(volumes["ct"][box][inside].astype(float).mean())
    return row


def _peak(pet: np.ndarray, inside: np.ndarray, box: tuple[slice, ...], grid: Grid) -> float:
    """Return the highest mean of PET over spheres of 1 ml with a centre in the node."""
    reach = [int(PEAK_MM // s) for s in grid.spacing]
    steps = np.meshgrid(
        *[np.arange(-r, r + 1) * s for r, s in zip(reach, grid.spacing, strict=True)], indexing="ij"
    )
    ball = sum(step**2 for step in steps) <= PEAK_MM**2  # pyright: ignore[reportAttributeAccessIssue]
    low = [s.start - r for s, r in zip(box, reach, strict=True)]
    high = [s.stop + r for s, r in zip(box, reach, strict=True)]
    cut = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
    before = [max(-a, 0) for a in low]
    after = [max(b - n, 0) for b, n in zip(high, pet.shape, strict=True)]
    around = np.pad(pet[cut].astype(float), list(zip(before, after, strict=True)), mode="edge")
    means = ndimage.correlate(around, ball / ball.sum(), mode="nearest")
    core = tuple(slice(r, r + n) for r, n in zip(reach, inside.shape, strict=True))
    return float(means[core][inside].max())
