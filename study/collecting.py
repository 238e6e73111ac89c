"""Tables of a study as CSV, without the report: rows per case, arms, comparisons."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UserError
from ..core.files import atomic_path
from .compare import ArmSummary, Paired, compare, summarise
from .ledger import Entry
from .results import collect, write_csv
from .settings import StudySettings

Cells = Sequence[Sequence[object]]


def write_tables(study: StudySettings, out: Path, entries: Sequence[Entry]) -> list[Path]:
    """Write `results.csv`, `tables/arms.csv` and `tables/comparisons.csv`; return their paths.

    Raises:
        UserError: If no fine-tuning cell is done.
    """
    rows = collect(entries)
    if not rows:
        raise UserError(
            "some fine-tuning cell must be done", file=out, remedy="`hilum study status` shows them"
        )
    results = out / "results.csv"
    write_csv(results, rows)
    seen = list(dict.fromkeys(row.condition for row in rows))
    full = max(seen, key=lambda name: name.count("+"))
    arms, pairs = out / "tables" / "arms.csv", out / "tables" / "comparisons.csv"
    _write(arms, ARMS, _arms(summarise(rows, seen)))
    _write(
        pairs, ("question", *FOUND, "p_adjusted", *COUNTS), _comparisons(compare(study, rows, full))
    )
    return [results, arms, pairs]


ARMS = ("arm", "condition", "seeds", "patients", "metric", "value", "ci_low", "ci_high", "n")
FOUND = ("name", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "p_value", "p_wilcoxon")
COUNTS = ("n_patients", "n_seeds", "supported", "note")


def _arms(arms: Sequence[ArmSummary]) -> Cells:
    return [
        (arm.arm, arm.condition, arm.seeds, arm.patients, name, *(m[key] for key in ARMS[5:]))
        for arm in arms
        for name, m in arm.metrics.items()
    ]


def _comparisons(pairs: Sequence[Paired]) -> Cells:
    return [
        (
            pair.question,
            *(getattr(pair.comparison, key) for key in FOUND),
            pair.p_adjusted,
            *(getattr(pair.comparison, key) for key in COUNTS),
        )
        for pair in pairs
    ]


def _write(path: Path, head: Sequence[str], rows: Cells) -> None:
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows(rows)
