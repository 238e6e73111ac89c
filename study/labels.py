"""Label efficiency: what each arm reaches with how many labelled patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..evaluation import charts
from .page import drawing, paragraph

if TYPE_CHECKING:
    from .report import Findings
    from .settings import StudySettings

Point = tuple[float, float, float, float]
"""Labelled patients, value, lower and upper end of its interval."""


def labels_of(study: StudySettings) -> tuple[str, dict[str, int]]:
    """Return the factor that sets the number of labelled patients, and the number of each level.

    The name is empty if the study has none with two numbers at least.
    """
    for name, levels in study.factors.items():
        found: dict[str, int] = {}
        for level in levels:
            value: Any = level if name == "split.labels" else None
            if isinstance(levels, dict):
                own = levels[level]
                value = own.get("split.labels", dict(own.get("split", {})).get("labels"))
            if isinstance(value, int):
                found[str(level)] = value
        if len(set(found.values())) > 1:
            return name, found
    return "", {}


def curves(found: Findings) -> list[tuple[str, list[Point]]]:
    """Return a curve per arm, the number of labels apart; single points are left out."""
    factor, numbers = labels_of(found.study)
    levels = {row_arm: level for row_arm, level in _levels(found, factor).items() if level[0]}
    lines: dict[str, list[Point]] = {}
    for arm in found.of(found.full):
        value = arm.metrics.get(found.study.metric)
        if arm.arm not in levels or value is None:
            continue
        level, rest = levels[arm.arm]
        point = (float(numbers[level]), value["value"], value["ci_low"], value["ci_high"])
        lines.setdefault(rest, []).append(point)
    return [(name, sorted(points)) for name, points in lines.items() if len(points) > 1]


def section(found: Findings) -> str:
    """Draw the curves."""
    drawn = curves(found)
    if not drawn:
        return ""
    svg = charts.intervals(drawn, "labelled patients", found.study.metric)
    return paragraph(
        "The same test patients throughout; labelled patients of a smaller set are part of the "
        "larger one of the same draw."
    ) + drawing(svg, f"Mean {found.study.metric} by labelled patients, 95 % interval over patients")


def _levels(found: Findings, factor: str) -> dict[str, tuple[str, str]]:
    """Return, for each arm, its level of the factor and the name of the rest."""
    from .results import arm

    pairs = {}
    for row in found.rows:
        rest = {k: v for k, v in row.levels.items() if k != factor}
        pairs[arm(row.levels)] = (str(row.levels.get(factor, "")), arm(rest) or "all")
    return pairs
