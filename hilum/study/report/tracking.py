"""The study's own W&B run: its tables, plots and report; the cells have logged their own."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.training.study_tracking import study_run

from . import figures

if TYPE_CHECKING:
    from ..settings import StudySettings
    from .results import Findings


def log_study(study: StudySettings, out: Path, found: Findings, tracking: dict[str, Any]) -> None:
    """Log every table on disk, the plots and the page; a failing logger never fails a study."""
    with study_run(out, {"name": "report", **tracking}, study.model_dump(mode="json")) as log:
        for file in [out / "results.csv", *sorted((out / "tables").glob("*.csv"))]:
            if file.exists():
                log.table("cases" if file.name == "results.csv" else file.stem, *_read(file))
        for number, (drawing, _) in enumerate(figures.curves(found), 1):
            log.html(f"plots/{number}", drawing)
        log.html("report", found.page)


def sync_command(out: Path) -> str:
    """Return the command that sends what all cells and the study logged; empty if none did."""
    places = (f"{stage}/*/wandb/offline-run-*" for stage in ("pretrain", "finetune"))
    found = [place for place in (*places, "wandb/offline-run-*") if any(out.glob(place))]
    # Only the folder is quoted: the shell expands the stars.
    return " ".join(
        ["wandb sync", *(f"{shlex.quote(str(out))}/{p}" for p in found)] if found else []
    )


def _read(file: Path) -> tuple[list[str], list[list[object]]]:
    """Return head and rows of a CSV file; numbers where a column holds nothing else."""
    with file.open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    columns = [_numbers(column) for column in zip(*rows, strict=True)]
    return head, [list(row) for row in zip(*columns, strict=True)]


def _numbers(column: Sequence[str]) -> Sequence[object]:
    try:
        return [float(text) if text else None for text in column]
    except ValueError:
        return column
