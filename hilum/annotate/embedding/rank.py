"""Rank networks by how well their frozen features tell nodes from other places of their shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.core.errors import DataError
from hilum.evaluation.statistics.bootstrap import hierarchical_means
from hilum.pretrain.parts.linear_probe import fit_ridge, nearest

from .logme import logme
from .table import Embeddings

RIDGE, NEIGHBOURS = 1.0, 5


@dataclass(frozen=True)
class Score:
    """A mean over patients with its 95 % interval over patients."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rank:
    """What the frozen features of a network tell.

    Attributes:
        folder: Of the network.
        patients: Who took part: labelled, with nodes, not tested.
        nodes: Nodes of theirs.
        linear: Balanced accuracy of a ridge regression, each patient by a map of the others.
        knn: The same of the five nearest, by cosine.
        logme: Log evidence per region; see `logme`. Of all patients at once.
    """

    folder: str
    patients: int
    nodes: int
    linear: Score
    knn: Score
    logme: float

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def rank(folder: str | Path, embeddings: Embeddings) -> Rank:
    """Measure how well a network tells nodes from places of the same shape that are none.

    At random it is one over the classes. Each patient is measured by what the others teach, classes
    counting the same; a patient without one of the classes counts those it has.

    Raises:
        DataError: If fewer than two patients have nodes.
    """
    some = embeddings.where([row["kind"] in ("node", "background") for row in embeddings.rows])
    patients = np.array([row["patient"] for row in some.rows])
    classes = np.array([int(row["class"]) for row in some.rows])
    names = np.unique(patients)
    if len(names) < 2 or len(np.unique(classes)) < 2:
        raise DataError(
            "ranking needs two labelled patients with nodes that do not test",
            found=f"{len(names)}",
            remedy="leave --against out, or label some patients first",
        )
    x, y = torch.from_numpy(some.vectors.astype(np.float32)), torch.from_numpy(classes)
    linear, knn = list[float](), list[float]()
    for name in names:
        other = torch.from_numpy(patients != name)
        count = int(y.max()) + 1
        head = fit_ridge(x[other], y[other], count, RIDGE)
        scores = x[~other] @ head[:, :-1].T + head[:, -1]
        linear.append(_balanced(scores.argmax(1), y[~other]))
        found = nearest(x[other], y[other], x[~other], count, NEIGHBOURS)
        knn.append(_balanced(found, y[~other]))
    return Rank(
        str(folder),
        len(names),
        int((classes > 0).sum()),
        _score(linear),
        _score(knn),
        logme(_with_bias(some.standardised()), classes),
    )


def rank_rows(ranks: Sequence[Rank]) -> list[str]:
    """Return ranks as lines for a terminal, in their order."""
    head = (
        f"{ranks[0].nodes} nodes of {ranks[0].patients} patients against places of the same shape; "
        "balanced accuracy, each patient by the others [95 % over patients]:"
    )
    return [head] + [
        f"  {one.folder}: linear {_words(one.linear)}, nearest five {_words(one.knn)}, "
        f"LogME {one.logme:.3f}"
        for one in ranks
    ]


def _with_bias(features: np.ndarray) -> np.ndarray:
    """Return features with a column of ones: LogME has no bias of its own."""
    return np.concatenate([features, np.ones((len(features), 1), features.dtype)], 1)


def _balanced(found: torch.Tensor, truth: torch.Tensor) -> float:
    right = [(found == c)[truth == c].float().mean() for c in truth.unique()]
    return float(torch.stack(right).mean())


def _score(values: Sequence[float]) -> Score:
    table = np.array(values)[:, None]
    samples = hierarchical_means(table)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Score(float(table.mean()), float(low), float(high))


def _words(score: Score) -> str:
    if math.isnan(score.value):
        return "undefined"
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
