"""Average the weights of several fine-tuning runs into one segmenter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hilum.core.checkpoints import load_weights
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.outputs import check_output, owned_by
from hilum.core.seen import read_seen, tested_by, together
from hilum.core.types import IGNORE
from hilum.core.undefined import undefined_last
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore

from .config import SegmenterConfig, read_segmenter_config
from .inference.predict_case import predict_case
from .operating.apply import mask_of
from .operating.point import ARGMAX
from .prior_rule import PriorRuleSettings
from .segmenter import Segmenter

Score = Callable[[Segmenter], float]
"""Larger is better; measured on validation cases, never on those of the test."""

ALIKE = ("modalities", "classes", "organs", "encoder", "fusion", "decoder", "deep_supervision",
         "spacing", "orientation", "intensity", "prior_rule")  # fmt: skip
"""What segmenters must share so that a mean of their weights means something."""


def average(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    method: Literal["uniform", "greedy"] = "uniform",
    score: Score | None = None,
) -> Path:
    """Write a segmenter whose weights are the mean of others', and return its folder.

    `uniform` takes all. `greedy` begins with the best and adds the others in the order of their
    scores, each only if the score of the mean does not fall.

    The runs should start from the same pretrained encoder: the mean of unrelated networks is noise.

    Source:
        Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482, recipe 1.

    Args:
        folders: Segmenter folders.
        out: Segmenter folder to write; an earlier average there is replaced.
        method: How to choose.
        score: Of a segmenter, for `greedy`; `dice_on` makes one.

    Raises:
        CheckpointError: If the segmenters differ in architecture or in what they see.
        SettingsError: If there is nothing to average, or `greedy` has no score.
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise SettingsError(
            "an average needs a segmenter folder or more", remedy="name the folders"
        )
    if method == "greedy" and score is None:
        raise SettingsError("greedy averaging needs a score", remedy="give one made by dice_on")
    check_output(out, "average", inputs=paths)
    config = read_segmenter_config(paths[0])
    for path in paths[1:]:
        _check_alike(config, read_segmenter_config(path), paths[0], path)
    weights = [read_weights(path) for path in paths]
    for path, other in zip(paths, weights, strict=True):
        _check_shapes(weights[0], other, paths[0], path)
    chosen = list(range(len(paths)))
    if method == "greedy" and score is not None:
        # As the mean will predict: a point that was chosen for one of them is not its own.
        chosen = _greedy(config.model_copy(update={"operating_point": ARGMAX}), weights, score)
    names = [str(paths[index]) for index in chosen]
    noted = config.extra | {"average": {"method": method, "of": names}}
    noted.pop("validation_dice", None)
    seen = together(*(read_seen(paths[index]) for index in chosen))
    tests = [tested_by(paths[index]) for index in chosen]
    tested = together(*(one for one in tests if one is not None))
    changes = {"extra": noted, "seen": seen, "tested": tested, "operating_point": ARGMAX}
    # Who chose for one may have trained another.
    config = config.model_copy(update={**changes, "chose": None})
    return _filled(config, mean_of([weights[index] for index in chosen])).save(
        out, beside=owned_by("average")
    )


def mean_of(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each tensor, added in float64; counters are those of the first."""
    mean: dict[str, Tensor] = {}
    for name, first in weights[0].items():
        if first.is_floating_point():
            total = sum(other[name].double() for other in weights)
            mean[name] = (total / len(weights)).to(first.dtype)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            mean[name] = first.clone()
    return mean


def dice_on(store: CaseStore, cases: Sequence[str]) -> Score:
    """Return a score: the mean Dice over labelled cases, the voxels of all classes in one sum.

    A voxel of another class than the label's is no overlap.
    """

    def score(segmenter: Segmenter) -> float:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        found = [_dice(segmenter.to(device), store, name) for name in cases]
        return float(np.mean(found))

    return score


def _dice(segmenter: Segmenter, store: CaseStore, name: str) -> float:
    case = store[name]
    label = np.asarray(case.label)
    config, probability = segmenter.config, predict_case(segmenter, case)
    prediction = mask_of(probability, case, config.operating_point, regions=config.overlapping)
    if case.annotated:
        prediction = np.where(np.isin(prediction, case.annotated), prediction, 0)
    known = label != IGNORE
    ours, truth = (prediction > 0) & known, (label > 0) & known
    both = ((prediction == label) & truth).sum()
    return float(2 * both / (ours.sum() + truth.sum())) if ours.any() or truth.any() else 1.0


def _greedy(
    config: SegmenterConfig, weights: Sequence[dict[str, Tensor]], score: Score
) -> list[int]:
    """Return the members of the mean, the best first."""
    alone = [score(_filled(config, own)) for own in weights]
    order = sorted(range(len(weights)), key=lambda index: undefined_last(-alone[index]))
    chosen, best = [order[0]], alone[order[0]]
    for index in order[1:]:
        value = score(_filled(config, mean_of([weights[i] for i in [*chosen, index]])))
        if value >= best:
            chosen, best = [*chosen, index], value
    return chosen


def _filled(config: SegmenterConfig, weights: dict[str, Tensor]) -> Segmenter:
    segmenter = Segmenter(config)
    load_weights(segmenter, weights, threshold=1.0)
    return segmenter.eval()


def _check_alike(one: SegmenterConfig, other: SegmenterConfig, first: Path, path: Path) -> None:
    for key in ALIKE:
        ours, theirs = (_plain(getattr(config, key)) for config in (one, other))
        if ours != theirs:
            raise CheckpointError(
                f"segmenters to average must have the same {key}",
                file=path,
                found=f"{theirs}, while {first} has {ours}",
                remedy="average runs of one recipe that differ in seed, rate or augmentation",
            )


def _plain(value: Any) -> Any:
    """Return a value to compare; the limit that a rule began at is a weight by now."""
    if isinstance(value, PriorRuleSettings):
        return value.model_dump(exclude={"limit"})
    return value


def _check_shapes(
    one: dict[str, Tensor], other: dict[str, Tensor], first: Path, path: Path
) -> None:
    differ = sorted(one.keys() ^ other.keys())
    differ += [n for n, value in one.items() if n in other and other[n].shape != value.shape]
    if differ:
        raise CheckpointError(
            f"segmenters to average must have the tensors of {first}",
            file=path,
            found=f"{len(differ)} others, such as {differ[0]}",
            remedy="copy the whole folder again from where it was trained",
        )
