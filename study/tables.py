"""The tables of a study for a paper: the same rows as CSV and as LaTeX (booktabs)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import atomic_path, write_text
from ..evaluation.metrics_table import METRICS
from .compare import SHOWN

if TYPE_CHECKING:
    from .report import Findings

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    ">": r"$>$",
    "<": r"$<$",
}


def write_tables(found: Findings, folder: Path) -> list[Path]:
    """Write `arms` and `comparisons` as `.csv` with every number and `.tex` with the shown ones.

    Returns:
        The files.
    """
    files = []
    for name, (head, numbers, shown, caption) in {
        "arms": _arms(found),
        "comparisons": _comparisons(found),
    }.items():
        if numbers:
            files += [
                _csv(folder / f"{name}.csv", head[0], numbers),
                _tex(folder / f"{name}.tex", head[1], shown, caption),
            ]
    return files


Table = tuple[tuple[list[str], list[str]], list[list[object]], list[list[str]], str]


def _arms(found: Findings) -> Table:
    arms = found.arms
    names = [name for name in METRICS if any(name in arm.metrics for arm in arms)]
    head = ["arm", "condition", "seeds", "patients"]
    wide = [*head, *(f"{name}{end}" for name in names for end in ("", "_ci_low", "_ci_high"))]
    numbers: list[list[object]] = []
    for arm in arms:
        row: list[object] = [arm.arm, arm.condition, arm.seeds, arm.patients]
        for name in names:
            value = arm.metrics.get(name, {})
            row += [value.get(key, "") for key in ("value", "ci_low", "ci_high")]
        numbers.append(row)
    columns = [name for name in SHOWN if name in names]
    shown = [
        [arm.arm, arm.condition, *(_interval(arm.metrics.get(name)) for name in columns)]
        for arm in arms
    ]
    titles = [getattr(METRICS[name], "title", "") or name for name in columns]
    caption = f"{found.study.name}: test patients, 95\\,\\% bootstrap interval over patients."
    return (wide, ["arm", "condition", *titles]), numbers, shown, caption


def _comparisons(found: Findings) -> Table:
    wide = ["comparison", "metric", "difference", "ci_low", "ci_high", "p", "p_holm"]
    wide += ["p_wilcoxon", "patients", "seeds", "supported", "note"]
    numbers: list[list[object]] = []
    shown = []
    for pair in found.pairs:
        c = pair.comparison
        numbers.append(
            [
                pair.question,
                found.study.metric,
                c.difference,
                c.ci_low,
                c.ci_high,
                c.p_value,
                pair.p_adjusted,
                c.p_wilcoxon,
                c.n_patients,
                c.n_seeds,
                c.supported,
                c.note,
            ]
        )
        value = {"value": c.difference, "ci_low": c.ci_low, "ci_high": c.ci_high}
        shown.append(
            [
                pair.question,
                _interval(value, "+"),
                f"{pair.p_adjusted:.3f}",
                str(c.n_patients),
                str(c.n_seeds),
                "yes" if c.supported else f"no: {c.note}",
            ]
        )
    head = ["comparison", "difference", "p (Holm)", "patients", "seeds", "supported"]
    caption = f"{found.study.name}: paired differences of {found.study.metric}, patient by patient."
    return (wide, head), numbers, shown, caption


def _csv(file: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
    return file


def _tex(file: Path, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Path:
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption if '{' in caption else _escape_text(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(escape(cell) for cell in head) + r" \\",
        r"\midrule",
        *(" & ".join(escape(cell) for cell in row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    write_text(file, "\n".join(lines) + "\n")
    return file


def escape(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _escape_text(caption: str) -> str:
    """Escape a caption, but for the thin space and the per cent sign that are written already."""
    return "".join(SPECIAL.get(c, c) if c in "_&#$" else c for c in caption)


def _interval(value: dict[str, float] | None, sign: str = "") -> str:
    if not value or value["value"] != value["value"]:
        return "--"
    ends = f" [{value['ci_low']:{sign}.3f}, {value['ci_high']:{sign}.3f}]"
    return f"{value['value']:{sign}.3f}{ends if value['ci_low'] == value['ci_low'] else ''}"
