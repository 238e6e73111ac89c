"""Which cells are the same arm: factors that only repeat it are no part of its name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from hilum.evaluation.statistics.runs import Run

DRAWS = ("split.draw", "split.seed", "draw")
FOLDS = ("split.fold", "fold")
SEEDS = ("seed",)
REPEATS = (*DRAWS, *FOLDS, *SEEDS)
"""Factors that repeat an arm at random. Folds test other patients, so they are no runs."""


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
