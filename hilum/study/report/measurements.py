"""Collect what the done cells measured into one table, one row per cell, patient and condition."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.files import atomic_path
from hilum.core.side_files import read_side
from hilum.evaluation.statistics.cohort import POOLS, SUMS
from hilum.evaluation.statistics.pseudovalues import pseudovalues
from hilum.evaluation.statistics.runs import Run, align

from ..grid.arms import arm, run_of
from ..run.ledger import Entry

PatientRuns = dict[str, dict[Run, float]]


@dataclass(frozen=True)
class Row:
    """Metrics of one test case in one cell, under one condition such as `ct+pet`."""

    levels: dict[str, Any]
    condition: str
    case: str
    patient: str
    metrics: dict[str, float]

    @cached_property
    def arm(self) -> str:
        """Name of the arm."""
        return arm(self.levels)

    @cached_property
    def run(self) -> Run:
        """Draw of the labelled patients, and seed."""
        return run_of(self.levels)


def collect(entries: Sequence[Entry]) -> list[Row]:
    """Read `test/metrics.json` of every done fine-tuning cell."""
    rows = []
    for entry in entries:
        if entry.state != "done" or entry.cell.stage != "finetune":
            continue
        for condition, cases in read_side(entry.cell.folder / "test" / "metrics.json").items():
            rows += [
                Row(entry.cell.described, condition, name, case["patient"], case["metrics"])
                for name, case in cases.items()
            ]
    return rows


def by_arm(rows: Sequence[Row], condition: str) -> dict[str, list[Row]]:
    """Group the rows of one condition by arm, in the order of the study."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.condition == condition:
            groups[row.arm].append(row)
    return dict(groups)


def per_patient(rows: Sequence[Row], metric: str) -> PatientRuns:
    """Return `metric[patient][run]`, the mean over a patient's cases; NaN values are left out.

    A pooled metric, such as DSCagg, has pseudovalues, whose means over patients are the metric.
    """
    if metric in POOLS:
        return _pseudovalues(rows, metric)
    values: dict[str, dict[Run, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        value = row.metrics.get(metric)
        if value is not None and value == value:
            values[row.patient][row.run].append(float(value))
    return {
        patient: {run: sum(v) / len(v) for run, v in runs.items()}
        for patient, runs in values.items()
    }


def sums_of(rows: Sequence[Row]) -> dict[str, PatientRuns]:
    """Return what pooled metrics are made of: sums over the cases of each patient in each run."""
    found: dict[str, PatientRuns] = {}
    for key in SUMS:
        values: PatientRuns = defaultdict(lambda: defaultdict(float))
        for row in rows:
            values[row.patient][row.run] += row.metrics.get(key, 0.0)
        found[key] = {patient: dict(runs) for patient, runs in values.items()}
    return found


def _pseudovalues(rows: Sequence[Row], metric: str) -> PatientRuns:
    aligned = {key: align([values]) for key, values in sums_of(rows).items()}
    first = next(iter(aligned.values()))
    # A patient whom some run did not test would leave other sums behind in each run.
    whole = np.isfinite(first.cube[0]).all(1)
    sums = {key: one.cube[0][whole] for key, one in aligned.items()}
    table = pseudovalues(sums, POOLS[metric]) if whole.sum() > 1 else np.zeros((0, 0))
    patients = [p for p, keep in zip(first.patients, whole, strict=True) if keep]
    return {
        patient: {run: float(v) for run, v in zip(first.runs, values, strict=True) if v == v}
        for patient, values in zip(patients, table, strict=False)
    }


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write every row with its levels, for anyone's own analysis."""
    levels = list(dict.fromkeys(name for row in rows for name in row.levels))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*levels, "condition", "case", "patient", *metrics])
        for row in rows:
            writer.writerow(
                [
                    *(row.levels.get(name, "") for name in levels),
                    row.condition,
                    row.case,
                    row.patient,
                    *(row.metrics.get(name, "") for name in metrics),
                ]
            )
