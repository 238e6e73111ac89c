"""Scores of the predicted nodes of a case, from what lies next to its mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, lattice_match
from hilum.core.types import IGNORE
from hilum.datasets.io.lattice import apart, turned
from hilum.datasets.io.nifti import read_volume
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.node_record import NodeRecord, read_nodes
from hilum.evaluation.metrics.scores import CaseScores, candidates_of, score_case

from ..operating.regions import Regions

MAP = "_probability"
"""End of the name of a map of probabilities, beside the mask."""


def scores_of(
    case: Case,
    file: Path,
    ours: np.ndarray,
    truth: np.ndarray,
    stored: Grid,
    lesions: Instances,
    regions: Regions | None = None,
) -> CaseScores | None:
    """Return the scores from what lies next to the mask, if anything.

    Args:
        case: Whose mask it is.
        file: The mask.
        ours: Classes that were predicted, also where the reference is unknown; canonical axes.
        truth: The reference; canonical axes.
        stored: Grid of the file of the reference.
        lesions: Nodes of the reference.
        regions: What the values of the mask make up, if they overlap: nodes are then the components
            of all of them together, in `truth` and `lesions`, too.
    """
    grid, axes, flips = stored.canonical()
    map_file = file.parent / f"{case.id}{MAP}.nii.gz"
    if map_file.is_file():
        volume = read_volume(map_file, case.id)
        match = lattice_match(stored, volume.grid)
        if match.kind not in ("equal", "turned"):
            raise DataError(
                "the probability must lie on the grid of the label",
                case=case.id,
                file=map_file,
                found=apart(stored, volume.grid),
                remedy="bring it back to the grid of the original scan",
            )
        _check_probability(case, map_file, volume.array)
        values = turned(volume.array, match).transpose(axes)
        values = np.flip(values, tuple(axis for axis in range(3) if flips[axis]))
        whole = ours if regions is None else (ours > 0).astype(np.uint8)
        return score_case(case.id, values, truth, grid, mask=whole, lesions=lesions)
    table = file.parent / f"{case.id}_nodes.json"
    if not table.is_file():
        return None
    listed = read_nodes(table)
    # As the table was made: of the whole mask.
    if regions is None:
        found = Instances.of(ours)
        scores = _by_place(found, listed, grid)
    else:
        found = Instances.of(ours > 0)
        scores = _by_region(found, ours, listed, regions, grid)
    if scores is None:
        return None
    labels = np.where(truth == IGNORE, 0, found.labels)
    there = [number for number in np.unique(labels).tolist() if number]
    order = np.zeros(found.count + 1, np.int32)
    order[there] = np.arange(1, len(there) + 1)
    own = [scores[number - 1] for number in there]
    known = bool((truth != IGNORE).any())
    found_ = candidates_of(case.id, order[labels], own, lesions)
    return CaseScores(found_, lesions.count, known=known)


def _by_region(
    found: Instances,
    ours: np.ndarray,
    listed: Sequence[NodeRecord],
    regions: Regions,
    grid: Grid,
) -> list[float] | None:
    """Return the score of each component of all regions: the highest of the nodes in it."""
    best = np.zeros(found.count + 1)
    for number, name in enumerate(regions.names, 1):
        own = Instances.of(regions.one(ours, number))
        scores = _by_place(own, [node for node in listed if node.region == name], grid)
        if scores is None:
            return None
        inside, of_region = own.voxels
        # Every node of a region lies in one component of all: its first voxel tells which.
        _, first = np.unique(of_region, return_index=True)
        np.maximum.at(best, found.labels.ravel()[inside[first]], scores)
    return best[1:].tolist()


def _by_place(found: Instances, listed: Sequence[NodeRecord], grid: Grid) -> list[float] | None:
    """Return the score of each node from the record at its centroid; nothing if it is stale."""
    scores = [node.probability_max for node in listed]
    if found.count != len(listed) or any(score is None for score in scores):
        return None
    if not listed:
        return []
    inside = found.labels > 0
    index, number = np.argwhere(inside), found.labels[inside]
    middles = [np.bincount(number, index[:, axis])[1:] for axis in range(3)]
    places = grid.to_world(np.stack(middles, 1) / np.bincount(number)[1:, None])
    known = np.array([node.centroid_mm for node in listed])
    far = np.linalg.norm(places[:, None] - known[None], axis=-1)
    if far.min(1).max() > 1:
        return None
    return [float(scores[i] or 0) for i in far.argmin(1)]


def _check_probability(case: Case, file: Path, values: np.ndarray) -> None:
    low, high = float(values.min()), float(values.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise DataError(
            "a probability must lie between 0 and 1",
            case=case.id,
            file=file,
            found=f"{low + 0.0:g} to {high + 0.0:g} (logits, percent or bytes?)",
            remedy="write the probability of the foreground",
        )
