"""One row per node of a mask: where it is, how large, and how much tracer it takes up."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform

from hilum.core.connected_components import components
from hilum.core.files import write_json, write_text
from hilum.core.geometry import Grid

Row = dict[str, float | int | str | list[float]]

PEAK_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
"""Radius of a sphere of 1 ml."""

FIXED_SUV = (2.5, 4.0)
"""Fixed thresholds of MTV that tools use."""

_TURNS = np.arange(8) * math.pi / 8
DIRECTIONS = np.stack([np.cos(_TURNS), np.sin(_TURNS)])
"""Eight directions of the plane, `[2, 8]`; every other lies within pi / 16 of one."""


def node_table(
    mask: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray] | None = None,
    *,
    probability: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
    stations: Mapping[str, Sequence[float]] | None = None,
) -> list[Row]:
    """Measure every connected component (26 neighbours), the largest first.

    Short and long axis follow RECIST 1.1: on the axial slice where the node is longest, the longest
    diameter, and the longest one at right angles to it, between the outer edges of voxels. SUVpeak
    is the highest mean over a sphere of 1 ml whose centre is in the node (PERCIST 1.0).

    Args:
        mask: Whole numbers or booleans `[D, H, W]`; 0 is background.
        grid: Where it lies; axial slices are those along its first axis.
        volumes: Physical images on the same grid, for uptake (`pet`) and density (`ct`).
        probability: Of the foreground, `[D, H, W]`; adds its mean and maximum in the node.
        uncertainty: Any unit, `[D, H, W]`; adds its mean in the node.
        stations: RAS mm of named places; adds the nearest one and its distance to the centroid.

    Returns:
        Plain rows: `id, centroid_mm` (RAS)`, volume_ml, long_axis_mm, short_axis_mm, size_class`,
        and with images `suv_max, suv_mean, suv_peak, mtv_ml, tlg, hu_mean`, and the MTV within the
        node at 41 % of its SUVmax and from SUV 2.5 and 4 on (`mtv_41pct_ml, mtv_suv2.5_ml,
        mtv_suv4_ml`).
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
        row |= _uptake(inside, box, grid, volumes or {})
        row |= _scores(inside, box, probability, uncertainty)
        found.append(row | _nearest(grid.to_world(np.argwhere(inside).mean(0) + start), stations))
    found.sort(key=lambda row: -float(row["volume_ml"]))  # pyright: ignore[reportArgumentType]
    for number, row in enumerate(found, 1):
        row["id"] = number
    return found


def n_features(rows: Sequence[Row]) -> dict[str, float]:
    """Return what staging asks of a patient: number of nodes, the largest, the total volume.

    Lengths are in mm, the volume in ml; without nodes all are 0.

    Args:
        rows: The patient's `node_table`.
    """

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]  # pyright: ignore[reportArgumentType]

    return {
        "nodes": float(len(rows)),
        "max_long_axis_mm": max(column("long_axis_mm"), default=0.0),
        "max_short_axis_mm": max(column("short_axis_mm"), default=0.0),
        "total_volume_ml": math.fsum(column("volume_ml")),
    }


def axes_mm(inside: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Return the long and the short axis of one node in mm.

    Args:
        inside: Booleans `[D, H, W]`, cut to the node.
        spacing: mm along depth, height, width.
    """
    best = (0.0, 0.0)
    found = [_corners(part) * np.array(spacing[1:]) for part in inside if part.any()]
    for reach, points in sorted(((_reach(x), x) for x in found), key=itemgetter(0), reverse=True):
        if reach < best[0]:
            break  # no further slice is as long
        best = max(best, _axes_of_slice(points))
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


def _corners(part: np.ndarray) -> np.ndarray:
    """Return the corners of the voxels at both ends of each row: the others lie between them."""
    rows = np.flatnonzero(part.any(1))
    lines = part[rows]
    ends = (lines.argmax(1), lines.shape[1] - lines[:, ::-1].argmax(1))
    return np.concatenate([np.stack([rows + low, x], 1) for low in (0, 1) for x in ends])


def _reach(points: np.ndarray) -> float:
    """Return a length that the diameter cannot exceed, at most 2 % above it."""
    along = points @ DIRECTIONS
    return float((along.max(0) - along.min(0)).max() / math.cos(math.pi / 16) * (1 + 1e-9))


def _axes_of_slice(points: np.ndarray) -> tuple[float, float]:
    """Return the diameters of one slice between the corners of its voxels, in mm."""
    points = np.unique(points, axis=0)
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
        limits = {"41pct": 0.41 * values.max(), **{f"suv{s:g}": s for s in FIXED_SUV}}
        for name, limit in limits.items():
            row[f"mtv_{name}_ml"] = float((values >= limit).sum() * grid.voxel_ml)
    if "ct" in volumes:
        row["hu_mean"] = float(volumes["ct"][box][inside].astype(float).mean())
    return row


def _scores(
    inside: np.ndarray,
    box: tuple[slice, ...],
    probability: np.ndarray | None,
    uncertainty: np.ndarray | None,
) -> Row:
    row: Row = {}
    if probability is not None:
        values = probability[box][inside].astype(float)
        row |= {"probability": float(values.mean()), "probability_max": float(values.max())}
    if uncertainty is not None:
        row["uncertainty"] = float(uncertainty[box][inside].astype(float).mean())
    return row


def _nearest(centre: np.ndarray, stations: Mapping[str, Sequence[float]] | None) -> Row:
    if not stations:
        return {}
    far = {name: math.dist(centre, place) for name, place in stations.items()}
    name = min(far, key=lambda station: far[station])
    return {"station": name, "station_distance_mm": far[name]}


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
