"""Results of a study as values of patients by arm and run: what comparisons are made of."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

Run = TypeVar("Run", bound=Hashable)


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


def write(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
