"""Measure one case: metrics by class, the nodes of both masks, and what probabilities are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, lattice_match
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.io.lattice import apart, place_mask, turned
from hilum.datasets.io.mask_values import refuse_sentinels
from hilum.datasets.io.masks import read_mask
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.prepare.body import find_body
from hilum.datasets.prepare.partial_labels import anatomy_on, with_unknown
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.instances import Instances, values_of
from hilum.evaluation.metrics.node_record import NodeRecord, csv_row, read_nodes
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.metrics.pairs import Pair, pairs_of
from hilum.evaluation.metrics.scores import CaseScores, candidates_of, score_case
from hilum.evaluation.metrics.uptake import uptake_metrics
from hilum.evaluation.settings import EvaluationSettings

from .prepared_cases import Numbers, measure
from .unannotated import of_annotated

MAP = "_probability"
"""End of the name of a map of probabilities, beside the mask."""


@dataclass(frozen=True)
class Measured:
    """What is found of one case.

    Attributes:
        numbers: Metrics by class.
        absent: Metrics of a class that the case holds in neither mask.
        nodes: Rows of both masks, `mask` says of which.
        scores: Of the foreground, where probabilities lie beside the mask.
        notes: What was done to bring the masks together.
        pairs: Which predicted node lies on which node, by the numbers of the rows of nodes.
    """

    numbers: dict[int, Numbers]
    absent: Numbers
    nodes: list[dict[str, Any]]
    scores: CaseScores | None
    notes: tuple[Note, ...] = ()
    pairs: tuple[Pair, ...] = ()


def measure_case(case: Case, file: Path, settings: EvaluationSettings | None = None) -> Measured:
    """Compare a mask with the label of a case.

    Args:
        case: With a label; PET adds uptake.
        file: The mask, on the lattice of the label: turned axes and another box are put in place.
            `<case>_probability.nii.gz` beside it, else the column `probability_max` of
            `<case>_nodes.json`, gives the scores of nodes.
        settings: What counts as near, and as empty.

    Where the manifest says that the label is partial, its unmarked voxels are unknown as `prepare`
    makes them.

    Raises:
        DataError: If the mask lies on another lattice, or holds 255.
    """
    settings = settings or validate(EvaluationSettings, {})
    both = aligned(case, file)
    ours, truth, grid = both.prediction, both.reference, both.grid
    unknown = bool((truth == IGNORE).any())
    masks = {"prediction": ours, "reference": truth}
    # Metrics need uptake only; density would cost a large file.
    volumes = {
        name: read_volume(scan, case.id)
        for name, scan in case.volumes.items()
        if modality(name).unit == "SUV"
    }
    values = sorted({1, *values_of(ours), *values_of(truth)})
    instances = {who: Instances.of(mask) for who, mask in masks.items()}
    tables = {who: node_table(nodes, grid, volumes) for who, nodes in instances.items()}
    short = {
        value: [node.short_axis_mm for node in tables["reference"] if node.label == value]
        for value in values
    }
    numbers = measure(ours, truth, grid, {}, values, settings, short)
    # In neither mask: only whether there are unknown voxels matters.
    blank = np.array([[[0, IGNORE if unknown else 0]]], np.uint8)
    absent = case_metrics(blank * 0, blank, grid, settings=settings)
    if "pet" in volumes:
        for value, metrics in numbers.items():
            own = [[node for node in nodes if node.label == value] for nodes in tables.values()]
            metrics |= uptake_metrics(own[0], own[1])
        absent |= uptake_metrics([], [])
        if unknown:
            absent["tlg_error"] = float("nan")
    nodes = [
        {"case": case.id, "mask": who, **csv_row(node.row)}
        for who, own in tables.items()
        for node in own
    ]
    scores = _scores(case, file, both.whole, truth, both.stored)
    pairs = pairs_of(instances["prediction"], instances["reference"], grid, settings)
    return Measured(numbers, absent, nodes, scores, both.notes, tuple(pairs))


@dataclass(frozen=True)
class Aligned:
    """Both masks of a case, voxel by voxel, with canonical axes.

    Attributes:
        prediction: Whole numbers `[D, H, W]`, 0 where the reference is unknown.
        reference: The same; 255 is unknown.
        whole: The prediction with what it says where the reference is unknown.
        grid: Of all three.
        stored: Of the file of the reference.
        notes: What was done to bring them together.
    """

    prediction: np.ndarray
    reference: np.ndarray
    whole: np.ndarray
    grid: Grid
    stored: Grid
    notes: tuple[Note, ...]


def aligned(case: Case, file: Path) -> Aligned:
    """Return the mask and the label of a case on one grid; arguments and errors as above."""
    assert case.label is not None
    reference, drawn = read_mask(case.label, case.id), read_mask(file, case.id)
    refuse_sentinels(reference.array, case.id, case.label)
    refuse_sentinels(drawn.array, case.id, file, "the prediction")
    _check_decided(case, file, drawn.array)
    prediction, notes = place_mask(
        drawn, reference.grid, case=case.id, file=file, what="the prediction", scan="the label"
    )
    grid, axes, flips = reference.grid.canonical()
    backwards = tuple(axis for axis in range(3) if flips[axis])
    whole, truth = (np.flip(x.array.transpose(axes), backwards) for x in (prediction, reference))
    if case.partial:
        truth = _partial(case, truth, grid)
    whole = of_annotated(whole, case.annotated)
    known = truth != IGNORE
    # What is unknown counts on neither side: not as voxels, not as nodes, not as uptake.
    ours = whole if known.all() else np.where(known, whole, 0)
    return Aligned(ours, truth, whole, grid, reference.grid, tuple(notes))


def _partial(case: Case, truth: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a label whose unmarked voxels are unknown where there may be a node, as `prepare`."""
    volumes = {name: read_volume(scan, case.id) for name, scan in case.volumes.items()}
    body = find_body(volumes, grid).on(grid) if volumes else np.ones(grid.shape, bool)
    ct = None
    if "ct" in volumes:
        found = volumes["ct"]
        ct = resample(found.array, found.grid, grid, fill=modality("ct").fill)
    return with_unknown(truth, body, ct, anatomy_on(case, grid))


def _check_decided(case: Case, file: Path, mask: np.ndarray) -> None:
    if (mask == IGNORE).any():
        raise DataError(
            f"a prediction must say of each voxel what it is; {IGNORE} means unknown",
            case=case.id,
            file=file,
            found=f"{IGNORE} in {np.count_nonzero(mask == IGNORE)} voxels",
            remedy="write classes as 1, 2, ... and the background as 0",
        )


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


def _scores(
    case: Case, file: Path, ours: np.ndarray, truth: np.ndarray, stored: Grid
) -> CaseScores | None:
    """Return the scores from what lies beside the mask, if anything; masks are canonical."""
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
        return score_case(case.id, values, truth, grid, mask=ours)
    table = file.parent / f"{case.id}_nodes.json"
    if not table.is_file():
        return None
    listed = read_nodes(table)
    # As the table was made: of the whole mask.
    found = Instances.of(ours)
    scores = _by_place(found, listed, grid)
    if scores is None:
        return None
    labels = np.where(truth == IGNORE, 0, found.labels)
    there = [number for number in np.unique(labels).tolist() if number]
    order = np.zeros(found.count + 1, np.int32)
    order[there] = np.arange(1, len(there) + 1)
    lesions = Instances.of(truth)
    own = [scores[number - 1] for number in there]
    known = bool((truth != IGNORE).any())
    found_ = candidates_of(case.id, order[labels], own, lesions)
    return CaseScores(found_, lesions.count, known=known)


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
