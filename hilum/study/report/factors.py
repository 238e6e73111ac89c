"""The grid as a whole: what each factor does on average, and which arms rank first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hilum.evaluation.statistics import effects
from hilum.evaluation.statistics.bounds import reach
from hilum.evaluation.statistics.comparison import too_few
from hilum.evaluation.statistics.effects import Effect
from hilum.evaluation.statistics.ranking import Ranking, rank
from hilum.evaluation.statistics.runs import align, models

from ..grid.arms import repeating
from ..settings import StudySettings
from .compare import higher_is_better
from .measurements import Row, by_arm, per_patient


@dataclass(frozen=True)
class Factors:
    """Effects of the factors of a grid.

    Attributes:
        main: What each level does, averaged over the other factors.
        interactions: What two levels do together beyond what each does alone.
        note: Why nothing of it is supported; empty if it is.
        reference: Level of each factor that the others are compared with.
    """

    main: Sequence[Effect] = field(default_factory=list)
    interactions: Sequence[Effect] = field(default_factory=list)
    note: str = ""
    reference: dict[str, str] = field(default_factory=dict)


def factors(study: StudySettings, rows: Sequence[Row], condition: str) -> Factors:
    """Return effects and interactions of every factor that does not repeat arms.

    The reference of a factor that the study names none for is its first level.
    """
    arms = by_arm(rows, condition)
    levels = {row.arm: row.levels for row in rows}
    repeats = repeating(study)
    names = [n for n in study.factors if n not in repeats and len(list(study.factors[n])) > 1]
    reference = {n: str(study.reference.get(n, next(iter(study.factors[n])))) for n in names}
    values = {name: per_patient(own, study.metric) for name, own in arms.items()}
    values = {name: own for name, own in values.items() if own}
    if not names or len(values) < 2:
        return Factors()
    aligned = align(list(values.values()), common=False)
    grid = {
        tuple(str(levels[name][factor]) for factor in names): models(table, aligned.draws)
        for name, table in zip(values, aligned.cube, strict=True)
    }
    base = list(reference.values())
    span = reach(study.metric)
    return Factors(
        [effect.clipped(span) for effect in effects.main_effects(grid, names, base)],
        [effect.clipped(2 * span) for effect in effects.interactions(grid, names, base)],
        too_few(len(aligned.patients), aligned.n_seeds),
        reference,
    )


def ranking(study: StudySettings, rows: Sequence[Row], condition: str) -> Ranking | None:
    """Rank all arms by the study's metric; nothing with fewer than two of them."""
    arms = by_arm(rows, condition)
    values = {name: per_patient(own, study.metric) for name, own in arms.items()}
    values = {name: own for name, own in values.items() if own}
    if len(values) < 2:
        return None
    aligned = align(list(values.values()), common=False)
    return rank(
        dict(zip(values, aligned.cube, strict=True)),
        draws=aligned.draws,
        higher_is_better=higher_is_better(study.metric),
    )
