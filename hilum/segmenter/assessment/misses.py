"""Pictures of the cases that miss most nodes: slices through what was missed and made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.modality import modality
from hilum.core.types import IGNORE
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.io.resampling import resample
from hilum.evaluation.charts.pictures import case_picture
from hilum.evaluation.metrics.instances import Instances

from .evaluate_case import aligned

MOST = 6
"""Cases that are drawn."""


def draw_misses(
    folder: Path,
    cases: Sequence[Case],
    files: Mapping[str, Path],
    pairs: Sequence[Mapping[str, Any]],
) -> dict[str, Path]:
    """Write a picture of each of the cases that miss most nodes; return them by what they show.

    Slices go through the nodes that have no partner; both masks are drawn whole. Cases without
    images have no picture.

    Args:
        folder: Where to write `<case>.png`.
        cases: With their images.
        files: Prediction of each case.
        pairs: Rows of `pairs.csv`.
    """
    missed, made_up = ({case.id: 0 for case in cases} for _ in range(2))
    for row in pairs:
        if row["prediction"] == "" or row["reference"] == "":
            (missed if row["prediction"] == "" else made_up)[row["case"]] += 1
    ranked = sorted(cases, key=lambda case: (-missed[case.id], -made_up[case.id]))
    found: dict[str, Path] = {}
    for case in ranked[:MOST]:
        counts = missed[case.id], made_up[case.id]
        if case.volumes and any(counts):
            title = f"{case.id}: {counts[0]} missed, {counts[1]} made up"
            found[title] = _draw(folder / f"{case.id}.png", case, files[case.id], title)
    return found


def _draw(picture: Path, case: Case, file: Path, title: str) -> Path:
    both = aligned(case, file)
    grid, ours = both.grid, both.prediction
    truth = np.where(both.reference == IGNORE, 0, both.reference)
    volumes = {}
    for name, scan in case.volumes.items():
        image = read_volume(scan, case.id)
        volumes[name] = resample(image.array, image.grid, grid, fill=modality(name).fill)
    alone = _alone(ours, truth) | _alone(truth, ours)
    return case_picture(picture, volumes, grid, truth, ours, title=title, around=alone)


def _alone(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the voxels of nodes that share none with a node of their class in the other mask."""
    nodes = Instances.of(mask)
    touched = np.zeros(nodes.count + 1, bool)
    touched[nodes.labels[mask == other]] = True
    return (nodes.labels > 0) & ~touched[nodes.labels]
