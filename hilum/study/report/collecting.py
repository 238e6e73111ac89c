"""Tables of a study without the report: rows per case, arms, comparisons, effects, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum.core.errors import UserError

from ..run.ledger import Entry
from ..settings import StudySettings
from . import tables
from .measurements import write_csv
from .results import find


def write_tables(study: StudySettings, out: Path, entries: Sequence[Entry]) -> list[Path]:
    """Write `results.csv` and the CSV and LaTeX files of `tables/`; return the CSV's paths.

    Raises:
        UserError: If no fine-tuning cell is done.
    """
    found = find(study, out / "report.html", entries)
    if not found.rows:
        raise UserError(
            "some fine-tuning cell must be done", file=out, remedy="`hilum study status` shows them"
        )
    results = out / "results.csv"
    write_csv(results, found.rows)
    written = tables.write_tables(found, out / "tables")
    return [results, *(file for file in written if file.suffix == ".csv")]
