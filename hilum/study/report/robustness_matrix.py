"""The robustness matrix of a study: each arm on scans that are moved, mis-scaled or incomplete."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.evaluation.statistics.bounds import reach
from hilum.evaluation.statistics.random_effects import Estimate, estimate
from hilum.evaluation.statistics.runs import align, models, row_means

from ..grid.arms import arm, run_of
from ..run.ledger import Entry
from .measurements import PatientRuns

FILE = Path("robustness") / "robustness_cases.csv"
"""Where a cell, or `hilum robustness ... --out CELL/robustness`, leaves its matrix."""


@dataclass(frozen=True)
class Disturbed:
    """One arm under one disturbance.

    Attributes:
        arm: Name of the arm.
        row: Disturbance in words, such as `ct+pet, shift 5 mm`.
        dice: Mean Dice over patients and runs.
        change: Change of Dice against the undisturbed row, paired by patient and run; nothing for
            that row itself.
        patients: Patients measured.
    """

    arm: str
    row: str
    dice: float
    change: Estimate | None
    patients: int


def matrix(entries: Sequence[Entry]) -> list[Disturbed]:
    """Return the matrix of every arm that has one, rows in the order of the cells' files."""
    values: dict[str, dict[str, PatientRuns]] = {}
    for entry in entries:
        file = entry.cell.folder / FILE
        if entry.cell.stage != "finetune" or entry.state != "done" or not file.exists():
            continue
        own = values.setdefault(arm(entry.cell.described), {})
        for row, patients in _read(file).items():
            for patient, dice in patients.items():
                runs = own.setdefault(row, {}).setdefault(patient, {})
                runs[run_of(entry.cell.described)] = sum(dice) / len(dice)
    found = []
    for name, rows in values.items():
        plain = next(iter(rows.values()))
        for row, own in rows.items():
            aligned = align([own, plain])
            delta = models(aligned.cube[0] - aligned.cube[1], aligned.draws)
            paired = own is not plain and delta.size
            change = estimate(delta).clipped(reach("dice")) if paired else None
            means = row_means(align([own]).cube[0])
            found.append(Disturbed(name, row, float(means.mean()), change, len(own)))
    return found


def _read(file: Path) -> dict[str, dict[str, list[float]]]:
    """Return Dice per row of the matrix and patient; cells of other columns are not needed."""
    found: dict[str, dict[str, list[float]]] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            dice = float(line["dice"] or math.nan)
            if math.isfinite(dice):
                found.setdefault(line["row"], {}).setdefault(line["patient"], []).append(dice)
    return found
