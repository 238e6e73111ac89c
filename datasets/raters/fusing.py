"""One label from several raters': majority vote, STAPLE, and how many marked each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hilum.core.case import IGNORE

from ..io.boxes import box_of

Fusion = Literal["staple", "majority", "mean"]

SURE = 0.99999
"""Where STAPLE begins: how often a rater is right, as in ITK."""


def fuse(masks: np.ndarray, how: Fusion) -> np.ndarray:
    """Return one mask of several.

    Args:
        masks: uint8 `[R, D, H, W]`: 0 background, classes, 255 where a rater does not know.
        how: `staple`, or `majority`; `mean` is the majority, too: what it says of a voxel in
            between lies in `shares.shares_of`.

    Returns:
        uint8 `[D, H, W]`; 255 where no rater knows. Of classes with as many votes the lowest wins,
        so two raters agree on what both marked.
    """
    combinations, place = _combinations(masks)
    if how == "staple":
        start, stop = box_of((masks != 0).any(0))
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        inside = np.bincount(place[box].ravel(), minlength=len(combinations))
        chosen = _classes(masks)[staple(combinations, inside)[0].argmax(1)]
    else:
        classes = _classes(masks)
        chosen = classes[np.stack([(combinations == c).sum(1) for c in classes], 1).argmax(1)]
    chosen = np.where((combinations == IGNORE).all(1), IGNORE, chosen)
    return chosen.astype(np.uint8)[place]


def staple(
    combinations: np.ndarray, counts: np.ndarray, most: int = 1000, change: float = 1e-10
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each class given what raters said, and how each rater errs.

    Expectation maximisation over the combinations of answers that occur, which is the same as over
    voxels, and much less work. The prior of a class is the fraction of the answers that name it.

    Source:
        Warfield et al., "Simultaneous truth and performance level estimation (STAPLE)", IEEE TMI
        2004, doi:10.1109/TMI.2004.828354; with several classes each rater has a matrix of
        confusion, as there in section II.D.

    Args:
        combinations: `[N, R]`: answers of the raters, 255 where one does not know.
        counts: Voxels with each combination.
        most: Rounds.
        change: Largest change of a probability of an answer at which it ends.

    Returns:
        `[N, classes]`, classes (0 among them) in order of their values; and
        `[R, classes, classes]`: of each rater the probability of an answer (first axis) where the
        truth is (second).
    """
    classes = _classes(combinations)
    known = combinations != IGNORE
    said = np.stack([combinations == c for c in classes], 2)  # [N, R, classes]
    total = np.einsum("n,nrc->c", counts, said).astype(float)
    prior = total / max(total.sum(), 1)
    count = len(classes)
    right = np.full((count, count), (1 - SURE) / max(count - 1, 1))
    np.fill_diagonal(right, SURE if count > 1 else 1.0)
    theta = np.repeat(right[None], combinations.shape[1], 0)
    weight = np.zeros((len(combinations), count))
    for _ in range(most):
        # What a rater does not know says nothing.
        each = np.einsum("nrd,rdt->nrt", said, theta) + ~known[..., None]
        weight = prior * each.prod(1)
        weight /= np.maximum(weight.sum(1, keepdims=True), 1e-300)
        hits = np.einsum("n,nrd,nt->rdt", counts, said, weight)
        there = np.einsum("n,nr,nt->rt", counts, known, weight)[:, None]
        new = np.where(there > 0, hits / np.maximum(there, 1e-300), theta)
        moved = float(np.abs(new - theta).max(initial=0))
        theta = new
        if moved < change:
            break
    return weight, theta


def _combinations(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which answers occur together, and which of these each voxel has."""
    code, table = np.zeros(masks.shape[1:], np.int64), np.zeros((1, 0), np.uint8)
    for mask in masks:
        # Numbered anew with each rater, so that numbers stay small however many there are.
        seen, code = np.unique(code * 256 + mask, return_inverse=True)
        code = code.reshape(masks.shape[1:])
        table = np.concatenate([table[seen // 256], (seen % 256).astype(np.uint8)[:, None]], 1)
    return table, code


def _classes(values: np.ndarray | Sequence[int]) -> np.ndarray:
    found = np.unique(values)
    return np.union1d(found[found != IGNORE], [0]).astype(int)
