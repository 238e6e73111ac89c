"""Measure one case: metrics by class, the nodes of both masks, and what probabilities are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.notes import Note
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.io.masks import masks_in
from hilum.datasets.io.nifti import read_volume
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.instances import Instances
from hilum.evaluation.metrics.node_record import NodeRecord, csv_row
from hilum.evaluation.metrics.node_status import burden_metrics
from hilum.evaluation.metrics.nodes import Image, node_table
from hilum.evaluation.metrics.pairs import Pair, pairs_of
from hilum.evaluation.metrics.raters import rater_metrics
from hilum.evaluation.metrics.scores import CaseScores
from hilum.evaluation.metrics.stations import by_station
from hilum.evaluation.metrics.uptake import uptake_metrics
from hilum.evaluation.settings import EvaluationSettings

from ..stations import name_stations
from .aligned import Aligned, aligned
from .case_scores import scores_of
from .own_regions import regions_beside
from .prepared_cases import Numbers
from .unannotated import looked_for
from .views import Target, View, views_of


@dataclass(frozen=True)
class Measured:
    """What is found of one case.

    Attributes:
        numbers: Metrics by class or region.
        absent: Metrics of a class that the case holds in neither mask.
        nodes: Rows of both masks, `mask` says of which.
        scores: Of the foreground, where probabilities lie next to the mask.
        notes: What was done to bring the masks together.
        pairs: Which predicted node lies on which node, by the numbers of the rows of nodes, with
            the region; empty for the classes.
        stations: Sums of each station by class or region, where they were asked for.
    """

    numbers: dict[Target, Numbers]
    absent: Numbers
    nodes: list[dict[str, Any]]
    scores: CaseScores | None
    notes: tuple[Note, ...] = ()
    pairs: tuple[tuple[str, Pair], ...] = ()
    stations: dict[Target, dict[str, Numbers]] = field(default_factory=dict)


def measure_case(case: Case, file: Path, settings: EvaluationSettings | None = None) -> Measured:
    """Compare a mask with the label of a case.

    Where the manifest says that the label is partial, its unmarked voxels are unknown as `prepare`
    makes them.

    Args:
        case: With a label; PET adds uptake.
        file: The mask, on the lattice of the label: axes in another order and another box are put
            in place. `<case>_probability.nii.gz` next to it, else the column `probability_max` of
            `<case>_nodes.json`, gives the scores of nodes.
        settings: What counts as near, as found, as positive, and as empty.

    Raises:
        DataError: If the mask lies on another lattice, holds 255, or what the settings ask for is
            missing.
    """
    settings = settings or validate(EvaluationSettings, {})
    both = aligned(case, file, settings)
    # Metrics need uptake only; density would cost a large file.
    volumes = {
        name: (volume.array, volume.grid)
        for name, scan in case.volumes.items()
        if modality(name).unit == "SUV"
        for volume in [read_volume(scan, case.id)]
    }
    if settings.positive_suv is not None and "pet" not in volumes:
        raise DataError(
            "positive_suv needs the PET of every case",
            case=case.id,
            found="no PET in the manifest",
            remedy="fill the column pet, or set positive_mm alone",
        )
    places = _with_places(case, settings)
    unknown = bool((both.reference == IGNORE).any())
    found = Measured({}, _absent(unknown, both.grid, "pet" in volumes, settings), [], None)
    scores, pairs = None, list[tuple[str, Pair]]()
    for view in views_of(both, settings):
        inside = settings.regions.get(view.region, ())
        if not all(looked_for(case.annotated, value) for value in inside):
            continue  # the union of what was and what was not looked for says nothing
        tables = [
            name_stations(node_table(nodes, both.grid, volumes), places)
            if places
            else node_table(nodes, both.grid, volumes)
            for nodes in view.nodes
        ]
        own = pairs_of(*view.nodes, both.grid, settings)
        pairs += [(view.region, pair) for pair in own]
        for value in view.classes:
            target = view.region or value
            one, other = ([n for n in table if n.label == value] for table in tables)
            numbers = _numbers(view, value, both.grid, (one, other), volumes, settings)
            found.numbers[target] = numbers
            if places:
                mine = [pair for pair in own if pair.label == value]
                found.stations[target] = by_station(one, other, mine)
        found.nodes.extend(_rows(case, view.region, tables))
        if not view.region:
            scores = _scores(case, file, both, view, settings)
    return replace(found, scores=scores, notes=both.notes, pairs=tuple(pairs))


def _scores(
    case: Case, file: Path, both: Aligned, view: View, settings: EvaluationSettings
) -> CaseScores | None:
    """Return what the probabilities of a mask are worth; those of regions are of their union."""
    own = regions_beside(file, case.id) if settings.instances == "none" else None
    whole, reference, lesions = both.whole, view.reference, view.nodes[1]
    if settings.instances != "none":
        whole = (whole > 0).astype(np.uint8)
    elif own is not None:
        reference = np.where(reference == IGNORE, IGNORE, reference > 0).astype(np.uint8)
        lesions = Instances.of(reference)
    return scores_of(case, file, whole, reference, both.stored, lesions, own)


def _numbers(
    view: View,
    value: int,
    grid: Grid,
    tables: tuple[list[NodeRecord], list[NodeRecord]],
    volumes: Mapping[str, Image],
    settings: EvaluationSettings,
) -> Numbers:
    """Return every metric of one class."""
    ours, theirs = (nodes.of_class(value)[0] for nodes in view.nodes)
    numbers = case_metrics(
        view.prediction,
        view.reference,
        grid,
        label=value,
        settings=settings,
        short_axes_mm=[node.short_axis_mm for node in tables[1]],
        nodes=(ours, theirs),
    )
    unknown = bool((view.reference == IGNORE).any())
    numbers |= burden_metrics(*tables, settings, unknown=unknown)
    numbers |= rater_metrics(view.prediction, view.reference, view.raters, value, grid.voxel_ml)
    return numbers | (uptake_metrics(*tables) if "pet" in volumes else {})


def _absent(unknown: bool, grid: Grid, pet: bool, settings: EvaluationSettings) -> Numbers:
    """Return the metrics of a class in neither mask: only whether voxels are unknown matters."""
    blank = np.array([[[0, IGNORE if unknown else 0]]], np.uint8)
    numbers = case_metrics(blank * 0, blank, grid, settings=settings)
    numbers |= burden_metrics([], [], settings, unknown=unknown)
    if pet:
        numbers |= uptake_metrics([], [])
        if unknown:
            numbers["tlg_error"] = float("nan")
    return numbers


def _rows(case: Case, region: str, tables: list[list[NodeRecord]]) -> list[dict[str, Any]]:
    """Return the rows of `nodes.csv`; those of a region say so."""
    more = {"region": region} if region else {}
    return [
        {"case": case.id, "mask": who, **more, **csv_row(node.row)}
        for who, table in zip(("prediction", "reference"), tables, strict=True)
        for node in table
    ]


def _with_places(case: Case, settings: EvaluationSettings) -> Case | None:
    """Return the case with the mask of its stations; nothing if they are not asked for."""
    if not settings.stations:
        return None
    if settings.stations == "anatomy":
        if case.anatomy is None:
            raise DataError(
                "stations=anatomy needs a mask of places of every case",
                case=case.id,
                found="no file in the column anatomy",
                remedy="fill it, or name a folder of masks <case>.nii.gz, as in stations=FOLDER",
            )
        return case
    folder = Path(settings.stations)
    masks = masks_in(folder, what="station mask")
    if case.id not in masks:
        raise DataError(
            "the folder of station masks must have one of every case",
            case=case.id,
            file=folder,
            remedy="add its mask, or leave the stations out",
        )
    return replace(case, anatomy=masks[case.id])
