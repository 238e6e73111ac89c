"""Which cells are the same arm: factors that only repeat it are no part of its name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import Any

from hilum.core.settings import flat
from hilum.evaluation.statistics.runs import Run

from ..settings import StudySettings

DRAWS = ("split.draw", "split.seed", "draw")
FOLDS = ("split.fold", "fold")
SEEDS = ("seed",)
REPEATS = (*DRAWS, *FOLDS, *SEEDS)
"""Settings, and names of factors, that repeat an arm at random. Folds test other patients, so they
are no runs."""


def repeating(study: StudySettings) -> set[str]:
    """Return the factors that only repeat arms: by name, or since their levels set nothing else."""
    return {
        name
        for name, levels in study.factors.items()
        if name in REPEATS
        or all(
            own and all(_setting(key) in REPEATS for key, _ in flat(own))
            for own in (study.level(name, level) for level in levels)
        )
    }


def described(study: StudySettings, levels: Mapping[str, Any], repeats: Set[str]) -> dict[str, Any]:
    """Return levels whose repetitions are written as what they repeat, whatever the factor's name.

    A level `{seed: 1, split.draw: 1}` of a factor `run` becomes a draw and a seed. What it sets
    apart from draw and fold, as the seed of the pretraining, belongs to the seed, by its own name.

    Args:
        study: What the levels set.
        levels: Level of each factor.
        repeats: The factors that only repeat, by `repeating`.
    """
    found = {name: level for name, level in levels.items() if name not in repeats}
    parts: dict[str, list[Any]] = {"split.draw": [], "split.fold": [], "seed": []}
    for name, level in levels.items():
        if name in repeats:
            own = {_setting(key): value for key, value in flat(study.level(name, level))}
            parts["split.draw"] += [own[key] for key in DRAWS if key in own]
            parts["split.fold"] += [own[key] for key in FOLDS if key in own]
            rest = own.keys() - {*DRAWS, *FOLDS}
            parts["seed"] += [level] if rest or not own else []
    for name, values in parts.items():
        if values:
            found[name] = values[0] if len(values) == 1 else " ".join(map(str, values))
    return found


def arm(levels: Mapping[str, Any]) -> str:
    """Return the name of an arm, such as `pretraining: none, fusion: early`.

    Factors that only repeat it are no part of the name.
    """
    parts = [f"{name}: {level}" for name, level in levels.items() if name not in REPEATS]
    return ", ".join(parts) or "all"


def run_of(levels: Mapping[str, Any]) -> Run:
    """Return which repetition of its arm a cell is: the draw of its labelled patients, its seed."""
    draws: list[Hashable] = [levels[name] for name in DRAWS if name in levels]
    draw = draws[0] if len(draws) == 1 else " ".join(map(str, draws)) if draws else 0
    return draw, levels.get("seed", 0)


def _setting(key: str) -> str:
    """Return a setting without the stage: a seed of the pretraining repeats as a seed does."""
    return key.removeprefix("pretrain.")
