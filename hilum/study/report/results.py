"""Everything that a study found, from the cells that are done: what the report and tables show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hilum.core.undefined import undefined_last
from hilum.evaluation.statistics.cohort import POOLS
from hilum.evaluation.statistics.ranking import Ranking

from ..run.ledger import Entry
from ..settings import StudySettings
from . import label_efficiency as labels
from . import robustness_matrix as disturbance
from .compare import ArmSummary, Paired, compare, higher_is_better, summarise
from .factors import Factors, factors, ranking
from .label_efficiency import Needed
from .measurements import Row, collect
from .robustness_matrix import Disturbed


@dataclass(frozen=True)
class Findings:
    """What a study found; `page` is where it is written up.

    Attributes:
        page: The report.
        study: Settings of the study.
        entries: Every cell with its state.
        rows: One row per cell, test case and condition.
        arms: Metrics of each arm under each condition.
        pairs: Comparisons with the reference, under the full condition.
        factors: Effects of the factors and their interactions, under the full condition.
        ranking: Ranks of the arms under the full condition.
        needed: Labelled patients that one line needs to reach another.
        disturbed: Robustness matrix, from the cells that have one.
    """

    page: Path
    study: StudySettings
    entries: Sequence[Entry]
    rows: Sequence[Row]
    arms: Sequence[ArmSummary] = field(default_factory=list)
    pairs: Sequence[Paired] = field(default_factory=list)
    factors: Factors = field(default_factory=Factors)
    ranking: Ranking | None = None
    needed: Sequence[Needed] = field(default_factory=list)
    disturbed: Sequence[Disturbed] = field(default_factory=list)

    @cached_property
    def full(self) -> str:
        """The condition with every modality."""
        return full(self.rows)

    @property
    def case_metric(self) -> str:
        """The study's metric, or Dice where that is one of cohorts only."""
        return "dice" if self.study.metric in POOLS else self.study.metric

    def of(self, condition: str) -> list[ArmSummary]:
        """Return the arms under one condition."""
        return [arm for arm in self.arms if arm.condition == condition]

    def ranked(self) -> list[ArmSummary]:
        """Return the arms under the full condition that have the metric, the best first."""
        metric = self.study.metric
        arms = [arm for arm in self.of(self.full) if metric in arm.metrics]
        sign = -1 if higher_is_better(metric) else 1
        return sorted(arms, key=lambda arm: undefined_last(sign * arm.metrics[metric]["value"]))


def find(study: StudySettings, page: Path, entries: Sequence[Entry]) -> Findings:
    """Read what the done cells measured, and compare, rank and average it."""
    rows = collect(entries)
    if not rows:
        return Findings(page, study, entries, rows)
    seen = list(dict.fromkeys(row.condition for row in rows))
    condition = full(rows)
    return Findings(
        page,
        study,
        entries,
        rows,
        summarise(rows, seen),
        compare(study, rows, condition),
        factors(study, rows, condition),
        ranking(study, rows, condition),
        labels.needed(study, rows, condition),
        disturbance.matrix(entries),
    )


def full(rows: Sequence[Row]) -> str:
    """Return the condition with the most modalities; empty without rows."""
    seen = list(dict.fromkeys(row.condition for row in rows))
    return max(seen, key=lambda name: name.count("+"), default="")
