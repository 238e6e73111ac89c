"""Measure a segmenter on prepared test cases, with all modalities and with some missing."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.files import atomic_path, write_json
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.datasets.store.raters import raters_of
from hilum.evaluation.charts.pictures import case_picture
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.raters import rater_metrics
from hilum.evaluation.metrics.scores import CaseScores, score_case, summary
from hilum.evaluation.settings import EvaluationSettings
from hilum.evaluation.statistics.cohort import cohort_metrics

from ..inference.predict_case import predict_case
from ..inference.settings import InferenceSettings, Precision
from ..operating.apply import mask_of
from ..operating.regions import Regions, in_view, looked_for_in
from ..segmenter import Segmenter
from .any_point import Numbers, whatever_the_point
from .unannotated import hidden, looked_for, unknown

Progress = Callable[[int, int, str], None]
"""Called with how many are done, how many there are, and what was done last."""

Results = dict[str, dict[str, Numbers]]
"""Metrics of each case under each condition."""


Predicts = Callable[[StoredCase, tuple[str, ...]], tuple[np.ndarray, np.ndarray]]
"""From a case and the modalities that may be used to probabilities `[classes, D, H, W]`, which the
caller may keep, and the mask."""


def assess(
    segmenter: Segmenter,
    store: CaseStore,
    ids: Sequence[str],
    conditions: Sequence[str],
    folder: Path,
    settings: InferenceSettings | None = None,
    *,
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> Results:
    """Predict stored cases under each condition, and write metrics, a table and pictures.

    Masks are those of the segmenter's operating point; see `assess_any`.

    Args:
        segmenter: To be measured.
        store: Holds the cases.
        ids: Labelled cases.
        conditions: Such as `ct+pet`; see `check_conditions`.
        folder: Where to write.
        settings: Window and overlap.
        precision: Of the network.
        progress: Called after each case.
    """
    point, regions = segmenter.config.operating_point, segmenter.config.overlapping

    def predicts(case: StoredCase, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        found = predict_case(segmenter, case, settings, modalities=names, precision=precision)
        return found, mask_of(found, case, point, names, regions)

    able, argmax = segmenter.modalities, point.is_default
    return assess_any(
        predicts, able, store, ids, conditions, folder, progress, argmax=argmax, regions=regions
    )


def assess_any(
    predicts: Predicts,
    modalities: Sequence[str],
    store: CaseStore,
    ids: Sequence[str],
    conditions: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
    *,
    argmax: bool = False,
    regions: Regions | None = None,
) -> Results:
    """Measure whatever predicts, and write metrics, a table and pictures.

    `dice_argmax` and `voxel_average_precision` compare apart from operating points. Both masks lie
    on the store's grid. A condition names the modalities that may be used; one of which a case has
    nothing that is known here is left out for that case. Conditions that leave the same modalities
    share one prediction.

    Writes `metrics.json` (condition, case, patient and metrics), `cohort.json`, `cases.csv`,
    `scores.json` (FROC and calibration under each condition), and one picture of each case under
    the first condition.

    Args:
        predicts: From a case to probabilities and a mask.
        modalities: That it can use.
        store: Holds the cases.
        ids: Labelled cases.
        conditions: Such as `ct+pet`; see `check_conditions`.
        folder: Where to write.
        progress: Called after each case.
        argmax: Whether masks are the most probable class.
        regions: What the classes are, if they may overlap; each is measured as one of its own.
    """
    results: Results = {condition: {} for condition in conditions}
    scores: dict[str, dict[str, CaseScores]] = {condition: {} for condition in conditions}
    for number, name in enumerate(ids, 1):
        case, seen = store[name], {}
        reference = np.asarray(case.label)
        for condition in conditions:
            names = tuple(
                m for m in modalities if m in condition.split("+") and m in case.modalities
            )
            if not names:
                continue
            if names not in seen:
                probability, mask = predicts(case, names)
                annotated = looked_for_in(case.annotated, regions)
                ours, truth = mask, reference
                if regions is None:
                    probability, mask = hidden(probability, mask, annotated)
                    ours = mask
                else:  # nodes are those of all regions together, if each was looked for
                    unknown_there = (reference == IGNORE) | bool(annotated)
                    ours, truth = mask > 0, np.where(unknown_there, IGNORE, reference > 0)
                worth = score_case(name, 1 - probability[0], truth, case.grid, mask=ours)
                numbers = _metrics(case, mask, len(probability), regions)
                numbers |= whatever_the_point(
                    probability, reference, numbers, argmax, annotated, regions
                )
                seen[names] = numbers, worth
                if condition == conditions[0]:
                    _draw(folder / f"{name}.png", case, mask, seen[names][0]["dice"])
            results[condition][name], scores[condition][name] = seen[names]
        if progress:
            progress(number, len(ids), name)
    patients = {name: store.rows[name]["patient"] for name in ids}
    write_results(folder, results, patients)
    write_json(
        folder / "scores.json",
        {condition: summary(own, patients) for condition, own in scores.items() if own},
    )
    return results


def check_conditions(
    conditions: Sequence[str] | None, modalities: Sequence[str]
) -> tuple[str, ...]:
    """Return the conditions to test under: those given, else all modalities, then each alone.

    Raises:
        SettingsError: If one names a modality that the run does not have.
    """
    if conditions is None:
        alone = list(modalities) if len(modalities) > 1 else []
        return ("+".join(modalities), *alone)
    for condition in conditions:
        for name in condition.split("+"):
            if name not in modalities:
                raise SettingsError(
                    f"a condition must be made of {', '.join(modalities)}"
                    f"{did_you_mean(name, modalities)}",
                    found=repr(condition),
                    remedy="write it as in ct+pet",
                )
    return tuple(dict.fromkeys(conditions))


def measure(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    volumes: Mapping[str, np.ndarray],
    classes: Sequence[int],
    settings: EvaluationSettings | None = None,
    short_axes_mm: Mapping[int, Sequence[float]] | None = None,
    regions: Regions | None = None,
) -> dict[int, Numbers]:
    """Return the metrics of each class, or region by its number; see `case_metrics`."""
    found = {}
    for c in classes:
        (ours, value), (truth, _) = (in_view(x, regions, c) for x in (prediction, reference))
        axes = None if short_axes_mm is None else short_axes_mm[c]
        found[c] = case_metrics(
            ours, truth, grid, volumes, value, settings=settings, short_axes_mm=axes
        )
    return found


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV, whole or not at all; the columns are those of all rows, NaN is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["case"]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)


def dice_of(results: Results, condition: str) -> float:
    """Return the mean Dice of the cases under a condition; NaN if there are none."""
    values = [metrics["dice"] for metrics in results[condition].values()]
    return float(np.mean(values)) if values else math.nan


def _metrics(case: StoredCase, mask: np.ndarray, classes: int, regions: Regions | None) -> Numbers:
    """Return the metrics of class 1 by their names, those of others with the class behind."""
    images = {m: np.asarray(case.images[i]) for i, m in enumerate(case.modalities)}
    physical = {m: x for m, x in images.items() if modality(m).unit == "SUV"}
    reference = np.asarray(case.label)
    found = measure(mask, reference, case.grid, physical, range(1, classes), regions=regions)
    raters = raters_of(case)
    for c, numbers in found.items():
        (ours, value), (truth, _) = (in_view(x, regions, c) for x in (mask, reference))
        said = {name: in_view(one, regions, c)[0] for name, one in raters.items()}
        numbers |= rater_metrics(ours, truth, said, value, case.grid.voxel_ml)
    annotated = looked_for_in(case.annotated, regions)
    rows = {c: n if looked_for(annotated, c) else unknown(n) for c, n in found.items()}
    return {
        name if c == 1 else f"{name}_class{c}": value
        for c, numbers in rows.items()
        for name, value in numbers.items()
    }


def _draw(file: Path, case: StoredCase, mask: np.ndarray, dice: float) -> None:
    volumes = {m: np.asarray(case.images[i], np.float32) for i, m in enumerate(case.modalities)}
    label = np.asarray(case.label)
    reference = np.where(label == IGNORE, 0, label)
    case_picture(file, volumes, case.grid, reference, mask, title=f"{case.id}: Dice {dice:.3f}")


def write_results(folder: Path, results: Results, patients: Mapping[str, str]) -> None:
    """Write `cases.csv`, `cohort.json` and `metrics.json` of the cases under each condition."""
    rows = [
        {"condition": condition, "case": name, "patient": patients[name], **metrics}
        for condition, cases in results.items()
        for name, metrics in cases.items()
    ]
    write_rows(folder / "cases.csv", rows)
    cohort = {
        condition: cohort_metrics(cases, {name: patients[name] for name in cases})
        for condition, cases in results.items()
    }
    write_json(folder / "cohort.json", cohort)
    write_json(
        folder / "metrics.json",
        {
            condition: {
                name: {"patient": patients[name], "metrics": metrics}
                for name, metrics in cases.items()
            }
            for condition, cases in results.items()
        },
    )


def _plain(value: object) -> object:
    return "" if isinstance(value, float) and math.isnan(value) else value
