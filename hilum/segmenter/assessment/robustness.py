"""The robustness matrix: what a segmenter loses when a modality is missing, moved or mis-scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.core.errors import DataError
from hilum.core.outputs import output
from hilum.core.seen import Seen, read_seen
from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.datasets.leakage import seen_cases
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.evaluation.statistics.comparison import paired_comparison

from ..inference.predict_case import predict_case
from ..operating.apply import mask_of
from ..operating.regions import looked_for_in
from ..segmenter import Segmenter
from .perturbation import perturb
from .prepared_cases import Numbers, Progress, check_conditions, measure
from .robustness_report import log_matrix, write_matrix
from .robustness_rows import Row, changed_modality, rows_of
from .robustness_settings import RobustnessSettings
from .unannotated import looked_for, unknown

SHOWN = ("dice", "dscagg", "f1agg")
"""Cohort metrics of the table, each with its interval over patients."""


def robustness(
    segmenter: Segmenter,
    store: CaseStore,
    ids: Sequence[str],
    folder: Path,
    settings: RobustnessSettings | None = None,
    *,
    progress: Progress | None = None,
) -> list[dict[str, float | str | int]]:
    """Measure every row on every case, and write and return the matrix.

    Writes `robustness.csv` (a row of the matrix each, with intervals over patients and the paired
    change of Dice against the first row), `robustness_cases.csv`, `robustness.json`,
    `robustness.html`, and a W&B run with the table.

    Args:
        segmenter: To be measured.
        store: Holds the cases.
        ids: Labelled cases.
        folder: Where to write.
        settings: Rows of the matrix.
        progress: Called after each case.

    Raises:
        SettingsError: If a condition or the changed modality is none of the segmenter's.
        DataError: If no case has what the first condition wants.
    """
    settings = settings or RobustnessSettings.model_validate({})
    with output(folder, "robustness", earlier="robustness.json") as place:
        return _robustness(segmenter, store, ids, place, settings, progress)


def _robustness(
    segmenter: Segmenter,
    store: CaseStore,
    ids: Sequence[str],
    folder: Path,
    settings: RobustnessSettings,
    progress: Progress | None,
) -> list[dict[str, float | str | int]]:
    moved = changed_modality(settings, segmenter.modalities)
    rows = rows_of(settings, check_conditions(settings.conditions, segmenter.modalities), moved)
    for number, name in enumerate(ids, 1):
        case = store[name]
        for row in rows:
            found = _measure(segmenter, case, row, moved, settings)
            if found is not None:
                row.cases[name] = found
        if progress:
            progress(number, len(ids), name)
    if not rows[0].cases:
        raise DataError(
            f"the matrix needs a labelled case with {rows[0].condition}",
            file=store.path,
            found=f"none in {len(ids)}",
            remedy="name cases that have these modalities: cases=[...]",
        )
    patients = {name: store.rows[name]["patient"] for name in ids}
    table = [_line(row, rows[0], patients, settings.seed) for row in rows if row.cases]
    write_matrix(folder, table, rows, patients, moved)
    log_matrix(folder, table, settings.tracking, settings.model_dump(mode="json"))
    return table


def cases_to_measure(
    folder: Path, store: CaseStore, settings: RobustnessSettings
) -> tuple[str, ...]:
    """Return the cases to measure: those asked for, else the test cases of the segmenter's run.

    A segmenter that was moved away from its run is measured on every labelled case of a patient
    that it has not learned from.

    Args:
        folder: Segmenter folder; its run's `split.json` lies next to it.
        store: Holds the cases.
        settings: May name cases.

    Raises:
        DataError: If there is none, or one of them trained the segmenter.
    """
    file = folder.parent / "split.json"
    split = read_side(file) if file.exists() else {}
    seen = seen_cases(read_seen(folder) or validate(Seen, {}), store, store.ids)
    labelled = [n for n in store.ids if store.rows[n]["labelled"] and n not in seen]
    chosen = settings.cases or tuple(split.get("test") or labelled)
    unknown = [name for name in chosen if name not in store.rows]
    if unknown or not chosen:
        raise DataError(
            "the matrix needs labelled cases of the store, that did not train the segmenter",
            file=store.path,
            found=", ".join(unknown) or "none",
            remedy="name other cases: cases=[...]",
        )
    for name in chosen:
        if name in seen:
            raise DataError(
                "no case of the matrix may have trained the segmenter",
                case=name,
                file=folder,
                found=seen[name],
                remedy="leave it out of cases",
            )
    return tuple(chosen)


def _measure(
    segmenter: Segmenter, case: StoredCase, row: Row, moved: str, settings: RobustnessSettings
) -> Numbers | None:
    names = row.condition.split("+")
    # A row says what it says only for cases that have all of it.
    if case.label is None or not set(names) <= set(case.modalities):
        return None
    changed = perturb(case, moved, row.change, settings.seed)
    probability = predict_case(segmenter, changed, modalities=names, precision=settings.precision)
    point, regions = segmenter.config.operating_point, segmenter.config.overlapping
    mask = mask_of(probability, changed, point, names, regions)
    numbers = measure(mask, np.asarray(case.label), case.grid, {}, (1,), regions=regions)[1]
    known = looked_for(looked_for_in(case.annotated, regions), 1)
    return numbers if known else unknown(numbers)


def _line(
    row: Row, first: Row, patients: Mapping[str, str], seed: int
) -> dict[str, float | str | int]:
    """Return one row of the table: metrics with intervals, and the paired change of Dice."""
    cohort = cohort_metrics(row.cases, {name: patients[name] for name in row.cases})
    line: dict[str, float | str | int] = {
        "row": row.name,
        "modalities": row.condition,
        **row.change._asdict(),
        "patients": len({patients[name] for name in row.cases}),
    }
    for metric in SHOWN:
        found = cohort.get(metric, {})
        for part in ("value", "ci_low", "ci_high"):
            name = metric if part == "value" else f"{metric}_{part}"
            line[name] = float(found.get(part, math.nan))
    if row is not first:
        ours, base = (_by_patient(r.cases, patients) for r in (row, first))
        found = paired_comparison(ours, base, reach=1.0, seed=seed)
        line |= {
            "dice_change": found.difference,
            "dice_change_ci_low": found.ci_low,
            "dice_change_ci_high": found.ci_high,
        }
    return line


def _by_patient(
    cases: Mapping[str, Numbers], patients: Mapping[str, str]
) -> dict[str, dict[int, float]]:
    values: dict[str, list[float]] = {}
    for name, numbers in cases.items():
        values.setdefault(patients[name], []).append(numbers["dice"])
    return {patient: {0: float(np.nanmean(v))} for patient, v in values.items()}
