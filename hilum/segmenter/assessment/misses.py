"""Pictures of the cases that miss most nodes: slices through what was missed and false positive."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.files import write_json
from hilum.core.modality import modality
from hilum.core.side_files import read_side
from hilum.core.types import IGNORE
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.io.resampling import resample
from hilum.evaluation.charts.pictures import case_picture
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.settings import EvaluationSettings

from .aligned import aligned
from .views import classes_of

FOLDER = "misses"
INDEX = "pictures.json"
"""Names of the pictures that lie in the folder."""
MOST = 6
"""Cases that are drawn."""


def draw_misses(
    folder: Path,
    cases: Sequence[Case],
    files: Mapping[str, Path],
    pairs: Sequence[Mapping[str, Any]],
    settings: EvaluationSettings,
) -> dict[str, Path]:
    """Write a picture of each of the cases that miss most nodes; return them by what they show.

    Slices go through the nodes that have no partner; both masks are drawn whole. Cases without
    images have no picture.

    Args:
        folder: Where to write `<case>.png`.
        cases: With their images.
        files: Prediction of each case.
        pairs: Rows of `pairs.csv`; those of regions show the same nodes again and do not count.
        settings: Which masks number their nodes.
    """
    remove_pictures(folder.parent)
    missed, made_up = ({case.id: 0 for case in cases} for _ in range(2))
    for row in pairs:
        if isinstance(row["class"], int) and "" in (row["prediction"], row["reference"]):
            (missed if row["prediction"] == "" else made_up)[row["case"]] += 1
    ranked = sorted(cases, key=lambda case: (-missed[case.id], -made_up[case.id]))
    found: dict[str, Path] = {}
    for case in ranked[:MOST]:
        counts = missed[case.id], made_up[case.id]
        if case.volumes and any(counts):
            title = f"{case.id}: {counts[0]} missed, {counts[1]} false positive"
            picture = folder / f"{case.id}.png"
            found[title] = _draw(picture, case, files[case.id], title, settings)
    if found:
        write_json(folder / INDEX, [picture.name for picture in found.values()])
    return found


def remove_pictures(out: Path) -> None:
    """Remove the pictures that an earlier evaluation has left, and nothing else.

    Args:
        out: Folder of the evaluation.
    """
    folder = out / FOLDER
    index = folder / INDEX
    if not index.is_file():
        return
    for name in read_side(index):
        (folder / Path(name).name).unlink(missing_ok=True)
    index.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()  # only where nothing else lies in it


def _draw(picture: Path, case: Case, file: Path, title: str, settings: EvaluationSettings) -> Path:
    both = aligned(case, file, settings)
    grid, view = both.grid, classes_of(both, settings)
    ours, truth = view.prediction, np.where(view.reference == IGNORE, 0, view.reference)
    volumes = {}
    for name, scan in case.volumes.items():
        image = read_volume(scan, case.id)
        volumes[name] = resample(image.array, image.grid, grid, fill=modality(name).fill)
    same = ours == truth
    alone = _alone(view.nodes[0], same) | _alone(view.nodes[1], same)
    return case_picture(picture, volumes, grid, truth, ours, title=title, around=alone)


def _alone(nodes: Instances, same: np.ndarray) -> np.ndarray:
    """Return the voxels of nodes that share none with a node of their class in the other mask."""
    touched = np.zeros(nodes.count + 1, bool)
    touched[nodes.labels[same]] = True
    return (nodes.labels > 0) & ~touched[nodes.labels]
