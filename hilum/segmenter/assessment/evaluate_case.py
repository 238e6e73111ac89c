"""Measure one case: metrics by class, the nodes of both masks, and what probabilities are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.connected_components import components
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.types import IGNORE
from hilum.datasets.io.nifti import Volume, read_label, read_volume
from hilum.datasets.io.resampling import resample
from hilum.evaluation.metrics.nodes import Row, node_table
from hilum.evaluation.metrics.scores import CaseScores, candidates_of, score_case
from hilum.evaluation.metrics.uptake import uptake_metrics

from .prepared_cases import Numbers, measure

TOLERANCE_MM = 0.1
"""Headers of other tools round; a tenth of a millimetre moves no voxel."""

Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class Measured:
    """What is found of one case.

    Attributes:
        numbers: Metrics by class.
        grid: Of both masks, canonical.
        nodes: Rows of both masks, `mask` says of which.
        scores: Of the foreground, where probabilities lie beside the mask.
    """

    numbers: dict[int, Numbers]
    grid: Grid
    nodes: list[dict[str, Any]]
    scores: CaseScores | None


def measure_case(case: Case, file: Path) -> Measured:
    """Compare a mask with the label of a case.

    Args:
        case: With a label; PET adds uptake.
        file: The mask, on the grid of the label. `<case>_probability.nii.gz` beside it, else the
            column `probability_max` of `<case>_nodes.json`, gives the scores of nodes.

    Raises:
        DataError: If the mask lies on another grid.
    """
    assert case.label is not None
    reference, prediction = read_label(case.label, case.id), read_label(file, case.id)
    _check_grid(case, file, prediction, reference.grid)
    grid, axes, flips = reference.grid.canonical()
    turned = tuple(axis for axis in range(3) if flips[axis])
    ours, truth = (np.flip(x.array.transpose(axes), turned) for x in (prediction, reference))
    volumes = {}
    for name, scan in case.volumes.items():
        # Metrics need uptake only; density would cost a large file.
        if modality(name).unit == "SUV":
            volume = read_volume(scan, case.id)
            volumes[name] = resample(volume.array, volume.grid, grid, fill=modality(name).fill)
    known = truth != IGNORE
    values = {int(v) for x in (ours[known], truth[known]) for v in np.unique(x)} - {0, IGNORE}
    numbers = measure(ours, truth, grid, volumes, sorted(values | {1}))
    tables: Rows = {
        "prediction": node_table(ours, grid, volumes),
        "reference": node_table(np.where(known, truth, 0), grid, volumes),
    }
    if "pet" in volumes:
        for value, metrics in numbers.items():
            own = [[row for row in rows if row["label"] == value] for rows in tables.values()]
            metrics |= uptake_metrics(own[0], own[1])
    nodes = [
        {"case": case.id, "mask": kind, **row} for kind, rows in tables.items() for row in rows
    ]
    return Measured(numbers, grid, nodes, _scores(case, file, ours, truth, grid))


def _check_grid(case: Case, file: Path, found: Volume, grid: Grid) -> None:
    if not found.grid.same_as(grid, TOLERANCE_MM):
        raise DataError(
            "the prediction must lie on the grid of the label",
            case=case.id,
            file=file,
            found=f"{_about(found.grid)} against {_about(grid)}",
            remedy="bring it back to the grid of the original scan",
        )


def _scores(
    case: Case, file: Path, ours: np.ndarray, truth: np.ndarray, grid: Grid
) -> CaseScores | None:
    """Return the scores from what lies beside the mask, if anything."""
    map_file = file.parent / f"{case.id}_probability.nii.gz"
    if map_file.is_file():
        volume = read_volume(map_file, case.id)
        _check_grid(case, map_file, volume, read_label(file, case.id).grid)
        _, axes, flips = volume.grid.canonical()
        turned = tuple(axis for axis in range(3) if flips[axis])
        return score_case(case.id, np.flip(volume.array.transpose(axes), turned), truth, grid)
    table = file.parent / f"{case.id}_nodes.json"
    rows: list[Row] = read_json(table) if table.is_file() else []
    if not table.is_file() or any("probability_max" not in row for row in rows):
        return None
    labels, count = components(ours > 0)
    scores = _by_place(labels, count, rows, grid)
    if scores is None:
        return None
    lesions = (truth > 0) & (truth != IGNORE)
    return CaseScores(candidates_of(case.id, labels, scores, lesions), components(lesions)[1])


def _by_place(labels: np.ndarray, count: int, rows: list[Row], grid: Grid) -> list[float] | None:
    """Return the score of each node from the row at its centroid; nothing if the table is stale."""
    if count != len(rows):
        return None
    if not count:
        return []
    index = np.argwhere(labels > 0)
    number = labels[labels > 0]
    middles = [np.bincount(number, index[:, axis])[1:] for axis in range(3)]
    places = grid.to_world(np.stack(middles, 1) / np.bincount(number)[1:, None])
    known = np.array([row["centroid_mm"] for row in rows], float)
    far = np.linalg.norm(places[:, None] - known[None], axis=-1)
    if far.min(1).max() > 1:
        return None
    return [float(rows[i]["probability_max"]) for i in far.argmin(1)]  # pyright: ignore[reportArgumentType]


def _about(grid: Grid) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    origin = ", ".join(f"{v:.2f}" for v in grid.affine[:3, 3])
    return f"{grid.shape} voxels of {spacing} mm from ({origin})"
