"""Collect what the done cells measured into one table, one row per cell, patient and condition."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.files import atomic_path, read_json
from .ledger import Entry


@dataclass(frozen=True)
class Row:
    """Metrics of one test case in one cell, under one condition such as `ct+pet`."""

    levels: dict[str, Any]
    condition: str
    case: str
    patient: str
    metrics: dict[str, float]


def collect(entries: Sequence[Entry]) -> list[Row]:
    """Read `test/metrics.json` of every done fine-tuning cell."""
    rows = []
    for entry in entries:
        if entry.state != "done" or entry.cell.stage != "finetune":
            continue
        for condition, cases in read_json(entry.cell.folder / "test" / "metrics.json").items():
            rows += [
                Row(entry.cell.levels, condition, name, case["patient"], case["metrics"])
                for name, case in cases.items()
            ]
    return rows


def arm(levels: Mapping[str, Any]) -> str:
    """Return the name of an arm: every level but the seed."""
    return " > ".join(str(level) for name, level in levels.items() if name != "seed")


def by_arm(rows: Sequence[Row], condition: str) -> dict[str, list[Row]]:
    """Group the rows of one condition by arm, in the order of the study."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.condition == condition:
            groups[arm(row.levels)].append(row)
    return dict(groups)


def per_patient(rows: Sequence[Row], metric: str) -> dict[str, dict[int, float]]:
    """Return `metric[patient][seed]`, the mean over a patient's cases; NaN values are left out."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        value = row.metrics.get(metric)
        if value is not None and value == value:
            values[row.patient][int(row.levels.get("seed", 0))].append(float(value))
    return {
        patient: {seed: sum(v) / len(v) for seed, v in seeds.items()}
        for patient, seeds in values.items()
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
