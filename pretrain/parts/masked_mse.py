"""The squared error of what was hidden and counts, averaged per modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..base import PretextBatch

AXES = (0, 2, 3, 4)


def countable(batch: PretextBatch) -> Tensor:
    """Return where an error counts: inside the body and the field of view of a modality there is.

    Returns:
        Booleans like the image.
    """
    where = batch.body & batch.available[:, :, None, None, None]
    return where if batch.field_of_view is None else where & batch.field_of_view


def mean_squares(rebuilt: Tensor, image: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return per modality the mean squared error of the counted voxels, and their number.

    Selected before the square: what does not count has no gradient, even if it is NaN.
    """
    error = torch.where(counted, rebuilt.float() - image.float(), 0.0)
    count = counted.sum(AXES)
    return error.square().sum(AXES) / count.clamp(min=1), count


def weighted_mean(each: Tensor, count: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean over the modalities that have something to count; 0 if none has."""
    weights = weights * (count > 0)
    return (weights * each).sum() / weights.sum().clamp(min=1e-12)


def named(kind: str, modalities: Sequence[str], each: Tensor, count: Tensor) -> dict[str, Tensor]:
    """Return the error of each modality, detached, for the log; nan where nothing counts."""
    values = defined(each, count)
    return {f"{kind}/{name}": value for name, value in zip(modalities, values, strict=True)}


def defined(values: Tensor, count: Tensor) -> Tensor:
    """Return the values, detached, and nan where there was nothing to count."""
    return torch.where(count > 0, values.detach(), torch.nan)


def with_holes(image: Tensor, hidden: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
    """Return, to look at, the image, what was seen of it, and the image with its holes filled."""
    return {
        "input": image,
        "masked": image.masked_fill(hidden, float("nan")),
        "rebuilt": torch.where(hidden, rebuilt.float(), image),
    }
