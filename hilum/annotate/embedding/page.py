"""The page of embeddings: a map of the cases, nearest neighbours, and the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from hilum.core.files import write_text
from hilum.evaluation.charts.groups import Point, groups
from hilum.evaluation.html.parts import interval
from hilum.evaluation.html.rendering import render

from .projection import principal
from .rank import Rank, Score
from .table import Embeddings, Neighbour

NODE_MAP = {"node": "nodes", "background": "places of their shape elsewhere in the body"}


def write_page(
    folder: Path, embeddings: Embeddings, ranks: Sequence[Rank], neighbours: int
) -> Path:
    """Write `embeddings.html`, which needs no other file and no network."""
    cases = embeddings.of("case")
    near = cases.nearest(range(len(cases.rows)), neighbours) if neighbours else []
    text = render(
        "annotate/embedding/embedding.html.j2",
        title="Embeddings",
        about=embeddings.about,
        cases=len(cases.rows),
        patches=len(embeddings.of("patch").rows),
        nodes=len(embeddings.of("node").rows),
        map=_map(cases),
        node_map=_node_map(embeddings),
        neighbours=[_near(row["case"], own) for row, own in zip(cases.rows, near, strict=False)],
        ranks=[_rank(one) for one in ranks],
    )
    path = folder / "embeddings.html"
    write_text(path, text)
    return path


def _map(cases: Embeddings) -> Markup:
    places, share = principal(cases.standardised(), _fit(cases))
    found: dict[str, list[Point]] = {}
    for row, (x, y) in zip(cases.rows, places, strict=True):
        found.setdefault(_group(row), []).append((x, y, row["case"]))
    return groups(
        dict(sorted(found.items())),
        f"Cases by two principal components ({share[0]:.0%} and {share[1]:.0%} of the variance)",
    )


def _node_map(embeddings: Embeddings) -> Markup:
    kinds = [row["kind"] in NODE_MAP for row in embeddings.rows]
    some = embeddings.where(kinds)
    if not some.rows:
        return Markup()
    places, _ = principal(some.standardised(), np.ones(len(some.rows), bool))
    found: dict[str, list[Point]] = {name: [] for name in NODE_MAP.values()}
    for row, (x, y) in zip(some.rows, places, strict=True):
        found[NODE_MAP[row["kind"]]].append((x, y, row["id"]))
    return groups(found, "Labelled nodes and other places")


def _group(row: dict[str, object]) -> str:
    part = "tests" if row["split"] == "test" else "labelled" if row["labelled"] else "no label"
    return f"{row['site']}, {part}" if row["site"] else part


def _fit(cases: Embeddings) -> np.ndarray:
    return np.array([row["split"] != "test" for row in cases.rows], bool)


def _near(case: str, found: Sequence[Neighbour]) -> list[str]:
    return [case, ", ".join(f"{one.case} ({one.likeness:.2f})" for one in found) or "–"]


def _rank(one: Rank) -> list[str]:
    return [one.folder, _score(one.linear), _score(one.knn), f"{one.logme:.3f}"]


def _score(score: Score) -> str:
    return interval(score.value, score.low, score.high)
