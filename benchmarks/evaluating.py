"""Measure every metric of a case against the four of it that MONAI has.

`python benchmarks/evaluating.py` writes `results/evaluating.json` in a minute. Ours are all of
`evaluation.metrics.case.case_metrics`: overlap, surface distances, lesion-wise scores, detection,
volumes.
MONAI's are Dice, HD95, ASD both ways and the normalised surface Dice, on the whole volume as its
examples call them, and cut to the box around both masks.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy import ndimage
from timing import compare, write

from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator
from hilum.evaluation.metrics.case import case_metrics

torch.set_num_threads(1)
SIDES = (160, 192, 192)
SPACING = (3.0, 2.0, 2.0)


def masks(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a prediction and a reference: nodes that partly agree, some missed, some made up."""
    draw = numpy_generator(nodes, "bench evaluating")
    found = []
    places = draw.uniform(0.15, 0.85, (nodes, 3)) * np.array(SIDES)
    for shift in (0.0, 1.5):
        mask = np.zeros(SIDES, np.uint8)
        for number, place in enumerate(places):
            if number % 5 == (3 if shift else 4):  # each lacks a fifth that the other has
                continue
            sides = np.indices((24, 24, 24)) - 12
            radius = 3 + 6 * draw.random()
            ball = (sides**2).sum(0) < radius**2
            corner = (place + shift - 12).astype(int)
            box = tuple(slice(c, c + 24) for c in corner)
            mask[box] |= ball
        found.append(mask)
    return found[0], found[1]


def one_hot(mask: np.ndarray) -> torch.Tensor:
    """Return what MONAI's metrics take."""
    labels = torch.from_numpy(mask).long()[None, None]
    return torch.zeros((1, 2, *mask.shape)).scatter_(1, labels, 1.0)


def monai_metrics(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """Return Dice, HD95, ASD and surface Dice."""
    a, b = one_hot(prediction), one_hot(reference)
    return [
        float(compute_dice(a, b, include_background=False)),
        float(compute_hausdorff_distance(a, b, percentile=95, spacing=SPACING)),
        float(compute_average_surface_distance(a, b, symmetric=True, spacing=SPACING)),
        float(compute_surface_dice(a, b, [2.0], spacing=SPACING, use_subvoxels=True)),
    ]


def both_box(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks cut to the box that holds them, one voxel of background around."""
    (box,) = ndimage.find_objects((a | b).astype(np.uint8))
    wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    return a[wide], b[wide]


def main() -> None:
    """Compare at several numbers of nodes, and check that the common numbers agree."""
    rows = []
    grid = Grid.from_spacing(SIDES, SPACING)
    for nodes in (5, 10, 40):
        prediction, reference = masks(nodes)
        row = compare(
            f"all metrics of a case of {' x '.join(map(str, SIDES))}, {nodes} nodes",
            {
                "hilum, all": lambda _, p=prediction, r=reference: case_metrics(p, r, grid),
                "MONAI, four": lambda _, p=prediction, r=reference: monai_metrics(p, r),
                "MONAI, four, cut": lambda _, p=prediction, r=reference: monai_metrics(
                    *both_box(p, r)
                ),
            },
            rounds=5,
        )
        ours, theirs = (
            case_metrics(prediction, reference, grid),
            monai_metrics(prediction, reference),
        )
        names = ("dice", "hd95_mm", "masd_mm", "nsd_2mm")
        row["common"] = {
            name: [round(ours[name], 4), round(value, 4)]
            for name, value in zip(names, theirs, strict=True)
        }
        row["foreground_voxels"] = int(((prediction | reference) > 0).sum())
        rows.append(row)
    print(write("evaluating", "python benchmarks/evaluating.py", rows))


if __name__ == "__main__":
    main()
