"""The failure gallery: the cases that went worst, over all arms, and what was wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .page import paragraph, picture
from .results import Row, arm

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Findings

SHOWN = 4
"""Patients in the gallery."""


def worst(found: Findings) -> list[tuple[Row, float]]:
    """Return, per patient, the row of the best arm that went worst, the hardest patients first.

    The best arm, because the failures of a weak one say little; one row per patient, because the
    seeds of a patient fail alike. The number is the mean over all arms and seeds.
    """
    metric = found.study.metric
    rows = [
        row
        for row in found.rows
        if row.condition == found.full
        and row.metrics.get(metric, float("nan")) == row.metrics[metric]
    ]
    arms = [a for a in found.of(found.full) if metric in a.metrics]
    if not rows or not arms:
        return []
    best = max(arms, key=lambda a: a.metrics[metric]["value"]).arm
    hard: dict[str, list[float]] = {}
    for row in rows:
        hard.setdefault(row.patient, []).append(row.metrics[metric])
    mean = {patient: sum(values) / len(values) for patient, values in hard.items()}
    own: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.metrics[metric]):
        if arm(row.levels) == best:
            own.setdefault(row.patient, row)
    ranked = sorted(own, key=lambda patient: mean[patient])[:SHOWN]
    return [(own[patient], mean[patient]) for patient in ranked]


def section(found: Findings) -> str:
    """Show the worst cases with their overlay and their errors."""
    shown = []
    for row, mean in worst(found):
        file = _overlay(found, row)
        if file is not None:
            shown.append(picture(file, _caption(row, mean, found.study.metric)))
    if not shown:
        return ""
    text = "The patients that all arms found hardest, as the best arm's worst seed segmented them."
    return paragraph(text) + '<div class="stack">' + "".join(shown) + "</div>"


def _caption(row: Row, mean: float, metric: str) -> str:
    m = row.metrics
    errors = []
    if m.get("lesion_fn"):
        errors.append(f"{m['lesion_fn']:.0f} missed")
    if m.get("lesion_fp"):
        errors.append(f"{m['lesion_fp']:.0f} false")
    if m.get("volume_error_ml") == m.get("volume_error_ml") and "volume_error_ml" in m:
        errors.append(f"volume {m['volume_error_ml']:+.1f} ml")
    what = f": {', '.join(errors)}" if errors else ""
    return f"{row.case}, {metric} {m[metric]:.3f} (mean of all arms {mean:.3f}){what}"


def _overlay(found: Findings, row: Row) -> Path | None:
    for entry in found.entries:
        if entry.cell.levels == row.levels and entry.cell.stage == "finetune":
            file = entry.cell.folder / "test" / f"{row.case}.png"
            return file if file.exists() else None
    return None
