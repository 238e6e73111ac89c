"""The page of a plan: who is chosen, on a map of all, with reason and cost of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from hilum.core.files import write_text
from hilum.evaluation.charts.groups import Point, groups
from hilum.evaluation.html.rendering import render

from ..embedding.projection import principal
from .candidates import Candidates
from .choice import Choice


def write_plan_page(
    path: Path,
    choices: Sequence[Choice],
    candidates: Candidates,
    strategy: str,
    vectors: np.ndarray | None,
    known: np.ndarray | None,
) -> Path:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        choices: Whom to label, in order.
        candidates: Who could have been chosen, and who has labels.
        strategy: How they were chosen.
        vectors: `[N, C]` embeddings of the candidates, in their order; `None` draws no map.
        known: `[K, C]`, of those that have labels.
    """
    nodes = sum(one.cost.nodes for one in choices)
    text = render(
        "annotate/planning/plan.html.j2",
        title="Whom to label",
        strategy=strategy,
        candidates=len(candidates.cases),
        known=len(candidates.known),
        tested=candidates.tested,
        map=_map(choices, candidates, vectors, known),
        rows=[_row(rank, one) for rank, one in enumerate(choices, 1)],
        nodes=None if math.isnan(nodes) else f"{nodes:.0f}",
        slices=f"{sum(one.cost.slices for one in choices):.0f}",
        costs_from=choices[0].cost.source,
    )
    write_text(path, text)
    return path


def _map(
    choices: Sequence[Choice],
    candidates: Candidates,
    vectors: np.ndarray | None,
    known: np.ndarray | None,
) -> Markup:
    if vectors is None or len(vectors) < 2:
        return Markup()
    there = vectors if known is None else np.concatenate([vectors, known])
    places, part = principal(there, np.ones(len(there), bool))
    rank = {one.patient: str(number) for number, one in enumerate(choices, 1)}
    found: dict[str, list[Point]] = {"chosen": [], "not chosen": [], "labelled": []}
    labelled = list(candidates.known)
    for name, (x, y) in zip([*candidates.names, *labelled], places, strict=True):
        group = "chosen" if name in rank else "labelled" if name in labelled else "not chosen"
        found[group].append((x, y, name))
    title = (
        f"Patients by two principal components ({part[0]:.0%} and {part[1]:.0%} of the variance)"
    )
    return groups({key: own for key, own in found.items() if own}, title, rank)


def _row(rank: int, one: Choice) -> list[str]:
    words = [one.patient, one.site or "–", one.reason, ", ".join(one.cases)]
    return [str(rank), *words, _number(one.cost.nodes), _number(one.cost.slices)]


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.0f}"
