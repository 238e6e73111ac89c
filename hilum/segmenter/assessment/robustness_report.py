"""Write the robustness matrix as tables and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hilum.core.files import atomic_path, write_json
from hilum.core.undefined import number, with_interval
from hilum.evaluation.charts.svg import bars
from hilum.evaluation.html.rendering import render
from hilum.training.settings import TrackingSettings
from hilum.training.study_tracking import study_run

from .prepared_cases import write_rows
from .robustness_rows import Row

Line = Mapping[str, float | str | int]


def write_matrix(
    folder: Path,
    table: Sequence[Line],
    rows: Sequence[Row],
    patients: Mapping[str, str],
    moved: str,
) -> None:
    """Write `robustness.csv`, `.json`, `.html`, and `robustness_cases.csv`.

    Args:
        folder: Where.
        table: A line per row of the matrix.
        rows: With the metrics of each case.
        patients: Patient of each case.
        moved: The changed modality.
    """
    write_rows(folder / "robustness.csv", table)
    cases = [
        {"row": row.name, "case": name, "patient": patients[name], **numbers}
        for row in rows
        for name, numbers in row.cases.items()
    ]
    write_rows(folder / "robustness_cases.csv", cases)
    write_json(folder / "robustness.json", {"changed": moved, "rows": [dict(r) for r in table]})
    with atomic_path(folder / "robustness.html") as part:
        part.write_text(_page(table, moved), encoding="utf-8")


def log_matrix(
    folder: Path, table: Sequence[Line], tracking: TrackingSettings, config: Mapping[str, object]
) -> None:
    """Log the matrix to W&B as a run of its own; a failing logger changes nothing."""
    columns = list(dict.fromkeys(key for line in table for key in line))
    with study_run(folder, {"job_type": "test", **_said(tracking)}, config) as log:
        rows = [[line.get(column) for column in columns] for line in table]
        log.table("robustness", columns, rows)
        log.html("robustness_page", folder / "robustness.html")


def _said(tracking: TrackingSettings) -> dict[str, object]:
    return {key: value for key, value in tracking.model_dump().items() if value is not None}


def lines(table: Sequence[Line]) -> list[str]:
    """Return the matrix as aligned text."""
    wide = max(len(str(line["row"])) for line in table)
    head = f"{'':<{wide}}  patients  Dice                  DSCagg  F1agg   change of Dice"
    return [head, *(_text(line, wide) for line in table)]


def _text(line: Line, wide: int) -> str:
    text = f"{line['row']:<{wide}}  {line['patients']:>8}  {_interval(line, 'dice'):<20}"
    text += f"  {number(float(line['dscagg'])):<5}   {number(float(line['f1agg'])):<5}"
    return text + (f"   {_interval(line, 'dice_change', '+')}" if "dice_change" in line else "")


def _interval(line: Line, name: str, sign: str = "") -> str:
    value, low, high = (float(line[name + end]) for end in ("", "_ci_low", "_ci_high"))
    return with_interval(value, low, high, f"{sign}.3f")


def _page(table: Sequence[Line], moved: str) -> str:
    drawn = [
        (str(r["row"]), float(r["dice"]), float(r["dice_ci_low"]), float(r["dice_ci_high"]))
        for r in table
    ]
    return render(
        "segmenter/assessment/robustness.html.j2",
        title="Robustness matrix",
        moved=moved,
        chart=bars(drawn, "mean Dice over patients, 95 % interval"),
        head=("row", "patients", "Dice", "DSCagg", "F1agg", "change of Dice"),
        rows=[_cells(line) for line in table],
    )


def _cells(line: Line) -> list[str]:
    return [
        str(line["row"]),
        str(line["patients"]),
        _interval(line, "dice"),
        number(float(line["dscagg"])),
        number(float(line["f1agg"])),
        _interval(line, "dice_change", "+") if "dice_change" in line else "",
    ]
