"""Sizes and shapes of phantom nodes against those of real ones; `--sheet` draws a picture.

    python benchmarks/phantom_shapes.py --patients 14
    python benchmarks/phantom_shapes.py --patients 0 --seed 4 --sheet docs/pictures/phantoms.png

Both editions are measured on their instance labels at the spacing of the CT, moulded around vessels
and cut by voxels as they are. Percentiles of real nodes, with source: `shape_statistics.REAL`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from hilum.datasets.phantoms.case import PhantomCase
from hilum.datasets.phantoms.cohort import PhantomSettings, make_case, make_cases
from hilum.datasets.phantoms.shape_statistics import (
    ENLARGED_MM,
    REAL,
    REAL_LONG_SHARE,
    ShapeRow,
    measure,
    percentiles,
)

SHEET = (
    {"scanner": "c", "paired": "d", "arms": "up", "phase": "portal", "metal": 0},
    {"scanner": "a", "paired": "e", "arms": "down", "phase": "arterial", "metal": 1},
)
"""Two patients, each on two scanners."""
WHOLE_MM, NEAR_MM = 2.0, 0.6
"""mm per pixel of whole bodies and of what is around a node."""
AROUND_MM = 67.0
"""Half a side of what is shown around a node."""


def main() -> None:
    """Measure, print and draw what was asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--patients", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing", type=float, default=2.0, help="CT voxels of the chest, mm")
    parser.add_argument("--sheet", type=Path, help="PNG of two patients on two scanners each")
    asked = parser.parse_args()
    if asked.patients:
        found = {
            edition: shapes_of(edition, asked.patients, asked.seed, asked.spacing)
            for edition in (1, 2)
        }
        print(table(found))
    if asked.sheet:
        sheet(asked.seed).quantize(64).save(asked.sheet, optimize=True)
        print(f"wrote {asked.sheet}")


def shapes_of(edition: int, patients: int, seed: int, spacing: float) -> list[ShapeRow]:
    """Return the shapes of the enlarged nodes of a cohort of chests."""
    sides = [round(mm / spacing) for mm in (216, 200, 300)]
    settings = PhantomSettings.model_validate(
        {"edition": edition, "seed": seed, "region": "chest", "shape": sides}
        | {"ct_spacing": [spacing] * 3}
    )
    rows = []
    for index in range(patients):
        case = make_case(settings, index)
        for number, box in enumerate(ndimage.find_objects(case.instances), 1):
            row = measure(case.instances[box] == number, case.grid) if box else None
            if row is not None and row.short_axis_mm >= ENLARGED_MM:
                rows.append(row)
    return rows


def table(found: dict[int, list[ShapeRow]]) -> str:
    """Return a Markdown table: percentiles of real nodes and of both editions."""
    known = {edition: percentiles(rows) for edition, rows in found.items()}
    head = "".join(f" | edition {edition} (n = {len(rows)})" for edition, rows in found.items())
    lines = [f"| 5 / 50 / 95 % | real (n = 822){head} |", "| --- " * (2 + len(found)) + "|"]
    for name, real in REAL.items():
        cells = [real, *(known[edition][name] for edition in found)]
        texts = [" / ".join(f"{value:.3g}" for value in cell) for cell in cells]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(texts) + " |")
    long = [np.mean([row.elongation > 2 for row in rows]) for rows in found.values()]
    cells = " | ".join(f"{share:.0%}" for share in (REAL_LONG_SHARE, *long))
    return "\n".join([*lines, f"| longer than 2:1 | {cells} |"])


def sheet(seed: int) -> Image.Image:
    """Return a picture: a row per examination, CT, outlines, PET slice, projection of the PET."""
    rows = []
    for index, how in enumerate(SHEET):
        settings = PhantomSettings.model_validate(
            {"edition": 2, "seed": seed, "shape": (150, 106, 150), "ct_spacing": None} | how
        )
        rows += [_row(case) for case in make_cases(settings, index)]
    width, height = max(row.width for row in rows), sum(row.height + 3 for row in rows)
    whole, top = Image.new("RGB", (width, height)), 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + 3
    return whole


def _row(case: PhantomCase) -> Image.Image:
    node = max(case.nodes, key=lambda row: (row["malignant"], row["volume_ml"]))
    centre = np.array(node["centre_mm"])
    ct, pet = case.grid.spacing, case.pet_grid.spacing
    k, j, i = np.round(case.grid.to_index(centre)).astype(int)
    p, q, r = np.round(case.pet_grid.to_index(centre + node["shift_mm"])).astype(int)
    near, far = (
        _around((j, i), ct[1:], case.ct.shape[1:]),
        _around((q, r), pet[1:], case.pet.shape[1:]),
    )
    tiles = [
        _tile(case.ct[k][near], (-160, 240), ct[1:], NEAR_MM),
        _tile(
            case.ct[k][near],
            (-160, 240),
            ct[1:],
            NEAR_MM,
            case.instances[k][near],
            case.label[k][near],
        ),
        _tile(case.pet[p][far], (8, 0), pet[1:], NEAR_MM),
        _tile(case.ct[:, j], (-160, 240), (ct[0], ct[2]), WHOLE_MM),
        _tile(case.pet.max(1), (10, 0), (pet[0], pet[2]), WHOLE_MM),
    ]
    whole = Image.new("RGB", (sum(t.width + 3 for t in tiles), max(t.height for t in tiles)))
    left = 0
    for tile in tiles:
        whole.paste(tile, (left, 0))
        left += tile.width + 3
    return whole


def _around(
    centre: tuple[int, int], spacing: tuple[float, float], shape: tuple[int, int]
) -> tuple[slice, slice]:
    """Return a box of equal mm around a voxel, moved to lie inside of the slice."""
    box = []
    for middle, step, side in zip(centre, spacing, shape, strict=True):
        count = min(round(2 * AROUND_MM / step), side)
        start = min(max(middle - count // 2, 0), side - count)
        box.append(slice(start, start + count))
    return box[0], box[1]


def _tile(
    values: np.ndarray,
    window: tuple[float, float],
    spacing: tuple[float, float],
    mm: float,
    instances: np.ndarray | None = None,
    label: np.ndarray | None = None,
) -> Image.Image:
    """Return a slice as seen from the feet, front up; malignant nodes red, others blue."""
    low, high = window
    grey = (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    size = [round(n * step / mm) for n, step in zip(values.shape, spacing, strict=True)][::-1]

    def upright(array: np.ndarray, how: Image.Resampling) -> np.ndarray:
        flipped = Image.fromarray(np.ascontiguousarray(array[::-1, ::-1]))
        return np.asarray(flipped.resize(size, how))

    colour = np.stack([upright(grey, Image.Resampling.BICUBIC)] * 3, -1)
    if instances is not None and label is not None:
        number = upright(instances.astype(np.int32), Image.Resampling.NEAREST)
        bad = upright(label, Image.Resampling.NEAREST) > 0
        edge = ndimage.maximum_filter(number, 3) != ndimage.minimum_filter(number, 3)
        edge &= number > 0
        colour[edge & bad], colour[edge & ~bad] = (255, 70, 60), (90, 160, 255)
    return Image.fromarray(colour)


if __name__ == "__main__":
    main()
