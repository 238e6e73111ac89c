"""Results of a study as values of patients by arm and run: what comparisons are made of."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from hilum.core.errors import DataError
from hilum.evaluation.statistics.random_effects import estimate

Run = TypeVar("Run", bound=Hashable)
Value = TypeVar("Value")


def by_run(
    file: Path, metric: str, arm: str, run: Callable[[dict[str, str]], Run], prefix: str = ""
) -> dict[str, dict[Run, dict[str, float]]]:
    """Return a metric by arm, run and patient: the mean over a patient's cases.

    Args:
        file: The study's `results.csv`.
        metric: A column; rows in which it is undefined are left out.
        arm: The column that names the arm.
        run: What of a row tells the runs of an arm apart.
        prefix: Only cases whose name begins so.
    """
    found: dict[str, dict[Run, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["case"].startswith(prefix) and row[metric] not in ("", "nan"):
                found[row[arm]][run(row)][row["patient"]].append(float(row[metric]))
    return {
        name: {key: {p: float(np.mean(v)) for p, v in own.items()} for key, own in runs.items()}
        for name, runs in found.items()
    }


def table(
    runs: Mapping[Run, Mapping[str, float]], patients: Sequence[str], keys: Sequence[Run]
) -> np.ndarray:
    """Return the values `[patients, runs]`."""
    return np.array([[runs[key][name] for key in keys] for name in patients])


def difference(
    one: Mapping[Run, Mapping[str, float]],
    other: Mapping[Run, Mapping[str, float]],
    runs: Sequence[Run],
) -> dict[str, object]:
    """Return means of both sides and their difference, paired over runs and the patients of all.

    The interval (95 %) is that of two-way random effects, for other patients and other runs.
    """
    sides = [own[run] for own in (one, other) for run in runs]
    patients = sorted(set.intersection(*(set(own) for own in sides))) if sides else []
    first, second = table(one, patients, runs), table(other, patients, runs)
    apart = estimate(first - second)
    return {
        "patients": len(patients),
        "runs": len(runs),
        "one": float(first.mean()),
        "other": float(second.mean()),
        "difference": apart.mean,
        "low": apart.low,
        "high": apart.high,
    }


def named(found: Mapping[str, Value], name: str, file: Path) -> Value:
    """Return what has a name in a table.

    Raises:
        DataError: If nothing has it.
    """
    if name not in found:
        raise DataError(
            "the table must have this name",
            file=file,
            found=name,
            remedy=f"choose one of {'; '.join(found)}",
        )
    return found[name]


def write(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
