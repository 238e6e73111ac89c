"""The study's own W&B run: its tables, its report, and nothing that the cells logged already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..training.tracking import study_run

if TYPE_CHECKING:
    from .report import Findings
    from .settings import StudySettings


def log_study(study: StudySettings, out: Path, found: Findings, tracking: dict[str, Any]) -> None:
    """Log the arms, the comparisons and the page; a failing logger never fails a study."""
    with study_run(out, tracking, study.model_dump(mode="json")) as log:
        log.table(
            "arms",
            ["arm", "condition", "metric", "value", "ci_low", "ci_high", "n"],
            [
                [arm.arm, arm.condition, name, m["value"], m["ci_low"], m["ci_high"], m["n"]]
                for arm in found.arms
                for name, m in arm.metrics.items()
            ],
        )
        log.table(
            "comparisons",
            ["comparison", "difference", "ci_low", "ci_high", "p_adjusted", "supported"],
            [
                [
                    pair.question,
                    pair.comparison.difference,
                    pair.comparison.ci_low,
                    pair.comparison.ci_high,
                    pair.p_adjusted,
                    pair.comparison.supported,
                ]
                for pair in found.pairs
            ],
        )
        log.html("report", found.page)
