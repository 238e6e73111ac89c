"""Sweep windows over a volume, and give each slab away as soon as no window reaches it any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from hilum.core.geometry import IntTriple

Read = Callable[[int, int], Tensor]
"""Gets the first row and the end of some rows; gives `[channels, rows, H, W]`."""

Predict = Callable[[Tensor], Tensor]
"""From a batch of windows `[B, channels, *window]` to float32 `[B, results, *window]`."""


class Rows(NamedTuple):
    """A finished slab.

    Attributes:
        rows: Where it lies along the first axis.
        values: float32 `[results, rows, H, W]`; a view that the next slab overwrites.
    """

    rows: slice
    values: Tensor


@dataclass(frozen=True)
class Sweep:
    """Where windows go.

    Attributes:
        sides: Of the volume, none below the window's.
        window: Sides of a window.
        overlap: Fraction of a window that the next one may see again.
        batch: Windows per forward pass.
        wanted: Tells of the first index of a window whether to predict it; empty: all.
    """

    sides: IntTriple
    window: IntTriple
    overlap: float = 0.5
    batch: int = 1
    wanted: Callable[[IntTriple], bool] | None = None

    def layers(self) -> list[tuple[int, list[IntTriple]]]:
        """Return for each row where windows begin their first indices."""
        first, *across = (
            starts(side, window, self.overlap)
            for side, window in zip(self.sides, self.window, strict=True)
        )
        wanted = self.wanted or (lambda place: True)
        return [(d, [p for h, w in product(*across) if wanted(p := (d, h, w))]) for d in first]


def starts(side: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along one axis: spread evenly, as few as the overlap allows.

    As nnU-Net does: no two windows see nearly the same because the last one must fit.

    Examples:
        >>> starts(160, 96, 0.5)
        [0, 32, 64]
    """
    rest = side - window
    number = math.ceil(rest / max(window * (1 - overlap), 1)) + 1
    return [round(rest * i / max(number - 1, 1)) for i in range(number)]


def importance(window: Sequence[int]) -> Tensor:
    """Return the weight of each voxel of a window: a Gaussian, sigma an eighth of the side.

    At least 1e-3, as in MONAI, so that the corners of a volume keep their digits.
    """
    weight = torch.ones(())
    for side in window:
        along = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weight = weight[..., None] * torch.exp(along**2 / (-2 * (side / 8) ** 2))
    return weight.clamp_min(1e-3)


def sweep(plan: Sweep, read: Read, predict: Predict, empty: Sequence[float]) -> Iterator[Rows]:
    """Yield the weighted mean of all windows, slab by slab, in order along the first axis.

    What is held: the input and the sums of as many rows as a window has, and one batch of windows.
    Each row of the input is read once. Everything lies on the device of what `read` gives.

    Args:
        plan: Where windows go.
        read: Gives rows of the input.
        predict: The network.
        empty: Each result where no window went; their number is that of the results.
    """
    depth, height, width = plan.window[0], *plan.sides[1:]
    layers = plan.layers()
    image = read(0, depth)
    weight = importance(plan.window).to(image.device)
    total = torch.zeros((len(empty), depth, height, width), device=image.device)
    norm = torch.zeros((depth, height, width), device=image.device)
    for number, (begin, places) in enumerate(layers):
        for index in range(0, len(places), plan.batch):
            boxes = [_box(place, plan.window) for place in places[index : index + plan.batch]]
            found = predict(torch.stack([image[box] for box in boxes]))
            for box, values in zip(boxes, found, strict=True):
                total[box].addcmul_(values, weight)
                norm[box[1:]].add_(weight)
        end = layers[number + 1][0] if number + 1 < len(layers) else begin + depth
        done = end - begin
        yield Rows(slice(begin, end), _normalised(total[:, :done], norm[:done], empty))
        if number + 1 < len(layers):
            for buffer in (image, total, norm[None]):
                _forward(buffer, done)
            image[:, depth - done :] = read(end + depth - done, end + depth)
            total[:, depth - done :] = 0
            norm[depth - done :] = 0


def _box(place: IntTriple, window: IntTriple) -> tuple[slice, ...]:
    """Return a window's place in the rows that are held."""
    _, h, w = place
    return (slice(None), slice(None), slice(h, h + window[1]), slice(w, w + window[2]))


def _normalised(total: Tensor, norm: Tensor, empty: Sequence[float]) -> Tensor:
    """Divide sums by weights, in place."""
    nowhere = norm == 0
    total.div_(norm.masked_fill(nowhere, 1))
    if nowhere.any():
        for values, value in zip(total, empty, strict=True):
            values.masked_fill_(nowhere, value)
    return total


def _forward(buffer: Tensor, done: int) -> None:
    """Move the rows after the first `done` to the front, without a copy of them all."""
    depth = buffer.shape[1]
    for begin in range(0, depth - done, done):
        end = min(begin + done, depth - done)
        buffer[:, begin:end] = buffer[:, begin + done : end + done]
