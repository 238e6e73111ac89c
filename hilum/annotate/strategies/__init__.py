"""Ways to choose whom to label, by name. One file per strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .base import Strategy

STRATEGIES: Table[type[Strategy]] = Table(
    "labelling",
    {
        "random": "RandomStrategy",
        "typical": "TypicalStrategy",
        "coverage": "CoverageStrategy",
        "uncertain": "UncertainStrategy",
    },
    base="hilum.annotate.strategies.base:Strategy",
    room="hilum.annotate.strategies",
)
