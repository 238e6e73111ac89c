"""One row per node of a mask: where it is, how large, and how much tracer it takes up."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage, signal

from ..core.components import components
from ..core.errors import DataError
from ..core.files import write_json, write_text
from ..core.geometry import Grid
from ..core.types import IGNORE
from .axes import axes_mm

Row = dict[str, float | int | str | list[float]]

PEAK_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
"""Radius of a sphere of 1 ml."""


class Node(NamedTuple):
    """One connected part of a mask.

    Attributes:
        label: Its value in the mask.
        box: Where it lies.
        inside: Booleans over the box.
        voxels: How many it has.
    """

    label: int
    box: tuple[slice, ...]
    inside: np.ndarray
    voxels: int


def find_nodes(mask: np.ndarray) -> list[Node]:
    """Return the components (26 neighbours) of every value but 0 and 255, the largest first.

    Nodes of different values stay apart even if they touch, so a mask may also number its nodes.

    Args:
        mask: Whole numbers or booleans `[D, H, W]`; 0 is background, 255 unknown.
    """
    found = []
    for value in np.unique(mask):
        if value in (0, IGNORE):
            continue
        labels, _ = components(mask == value)
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            inside = labels[box] == number
            found.append(Node(int(value), box, inside, int(np.count_nonzero(inside))))
    return sorted(found, key=lambda node: -node.voxels)


def node_table(
    mask: np.ndarray, grid: Grid, volumes: Mapping[str, np.ndarray] | None = None
) -> list[Row]:
    """Measure every node of `find_nodes`, the largest first.

    The axes are those of `axes.axes_mm` (RECIST 1.1). The mask is the metabolic volume: MTV is its
    volume and TLG its summed SUV, without a threshold of their own. SUVpeak is the highest mean
    over a sphere of 1 ml whose centre is in the node (PERCIST 1.0), over the voxels of the sphere
    that are inside the image.

    Args:
        mask: Whole numbers or booleans `[D, H, W]`; 0 is background, 255 unknown.
        grid: Where it lies; axial slices are those along its first axis.
        volumes: Physical images on the same grid, for uptake (`pet`) and density (`ct`).

    Returns:
        Plain rows: `id, centroid_mm` (RAS)`, volume_ml, long_axis_mm, short_axis_mm, size_class,
        label`, and with images `suv_max, suv_mean, suv_peak, mtv_ml, tlg, hu_mean`.

    Raises:
        DataError: If an image has another shape than the mask.
    """
    volumes = volumes or {}
    for name, volume in volumes.items():
        if volume.shape != mask.shape:
            raise DataError(
                f"{name} must have the shape of the mask", found=f"{volume.shape} and {mask.shape}"
            )
    rows: list[Row] = []
    for number, node in enumerate(find_nodes(mask), 1):
        long_mm, short_mm = axes_mm(node.inside, grid.spacing)
        middle = np.argwhere(node.inside).mean(0) + [part.start for part in node.box]
        row: Row = {
            "id": number,
            "centroid_mm": [round(float(v), 2) for v in grid.to_world(middle)],
            "volume_ml": node.voxels * grid.voxel_ml,
            "long_axis_mm": long_mm,
            "short_axis_mm": short_mm,
            "size_class": size_class(short_mm),
            "label": node.label,
        }
        rows.append(row | _uptake(node, grid, volumes))
    return rows


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


def _uptake(node: Node, grid: Grid, volumes: Mapping[str, np.ndarray]) -> Row:
    row: Row = {}
    if "pet" in volumes:
        values = volumes["pet"][node.box][node.inside].astype(float)
        row |= {
            "suv_max": float(values.max()),
            "suv_mean": float(values.mean()),
            "suv_peak": _peak(volumes["pet"], node, grid),
            "mtv_ml": node.voxels * grid.voxel_ml,
            "tlg": float(values.sum()) * grid.voxel_ml,
        }
    if "ct" in volumes:
        row["hu_mean"] = float(volumes["ct"][node.box][node.inside].astype(float).mean())
    return row


def _peak(pet: np.ndarray, node: Node, grid: Grid) -> float:
    """Return the highest mean of PET over spheres of 1 ml with a centre in the node."""
    reach = [int(PEAK_MM // s) for s in grid.spacing]
    steps = np.meshgrid(
        *[np.arange(-r, r + 1) * s for r, s in zip(reach, grid.spacing, strict=True)],
        indexing="ij",
        sparse=True,
    )
    ball = (steps[0] ** 2 + steps[1] ** 2 + steps[2] ** 2 <= PEAK_MM**2).astype(float)
    low = [part.start - r for part, r in zip(node.box, reach, strict=True)]
    high = [part.stop + r for part, r in zip(node.box, reach, strict=True)]
    cut = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
    outside = [(max(-a, 0), max(b - n, 0)) for a, b, n in zip(low, high, pet.shape, strict=True)]
    around = np.pad(pet[cut].astype(float), outside)
    # The ball is symmetric, so that a convolution is the sum around each voxel.
    sums = signal.fftconvolve(around, ball, mode="valid")
    counts = np.asarray(ball.sum())
    if np.any(outside):
        counts = signal.fftconvolve(np.pad(np.ones(pet[cut].shape), outside), ball, mode="valid")
    return float((sums / counts)[node.inside].max())
