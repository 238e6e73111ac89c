"""The failure gallery: the cases that went worst, over all arms, and what was wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from hilum.evaluation.html.parts import joined, paragraph, picture

from .compare import higher_is_better
from .figures import folders_of, picture_of
from .measurements import Row

if TYPE_CHECKING:
    from .results import Findings

SHOWN = 4
"""Patients in the gallery."""


def worst(found: Findings) -> list[tuple[Row, float]]:
    """Return, per patient, the row of the best arm that went worst, the hardest patients first.

    The best arm, because the failures of a weak one say little; one row per patient, because the
    runs of a patient fail alike. The number is the mean over all arms and runs.
    """
    metric = found.case_metric
    sign = 1 if higher_is_better(metric) else -1
    rows = [
        row
        for row in found.rows
        if row.condition == found.full
        and row.metrics.get(metric, float("nan")) == row.metrics.get(metric)
    ]
    arms = found.ranked()
    if not rows or not arms:
        return []
    hard: dict[str, list[float]] = {}
    for row in rows:
        hard.setdefault(row.patient, []).append(row.metrics[metric])
    mean = {patient: sum(values) / len(values) for patient, values in hard.items()}
    own: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: sign * row.metrics[metric]):
        if row.arm == arms[0].arm:
            own.setdefault(row.patient, row)
    ranked = sorted(own, key=lambda patient: sign * mean[patient])[:SHOWN]
    return [(own[patient], mean[patient]) for patient in ranked]


def section(found: Findings) -> Markup:
    """Show the worst cases with their overlay and their errors."""
    shown = []
    folders = folders_of(found)
    for row, mean in worst(found):
        file = picture_of(folders, row)
        if file is not None:
            shown.append(picture(file, _caption(row, mean, found.case_metric)))
    if not shown:
        return Markup()
    text = "The patients that all arms found hardest, as the best arm's worst run segmented them."
    return paragraph(text) + joined(shown)


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
