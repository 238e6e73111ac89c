"""The windows of a prepared case: all that hold body, and those around single places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hilum.core.errors import DataError
from hilum.core.geometry import IntTriple
from hilum.datasets.store.case_store import StoredCase
from hilum.segmenter.inference.network_input import PaddedInput
from hilum.segmenter.inference.sliding_window import Sweep

from .features import Features


class Window(NamedTuple):
    """A part of a case for the network.

    Attributes:
        start: Its first voxel in the case, which may lie outside.
        image: `[M, D, H, W]` on the network's scale.
        share: `[1, D, H, W]`, 1 where a voxel counts.
    """

    start: IntTriple
    image: Tensor
    share: Tensor


class CaseWindows:
    """Cuts windows out of a case. Final.

    Args:
        case: The case.
        network: Says modalities and scale.
        sides: Of a window.
    """

    def __init__(self, case: StoredCase, network: Features, sides: IntTriple) -> None:
        self.case, self.sides = case, sides
        self.names = tuple(name for name in network.modalities if name in case.modalities)
        if not self.names:
            raise DataError(
                f"the case must have one of {', '.join(network.modalities)}",
                case=case.id,
                found=", ".join(case.modalities) or "nothing",
                remedy="leave the case out, or use a network that was trained on what it has",
            )
        device = next(network.parameters()).device
        self.input = PaddedInput(
            network.modalities, case, self.names, sides, device, network.zscored
        )
        have = [name in self.names for name in network.modalities]
        self.available = torch.tensor([have], device=device)

    def over_body(self) -> Iterator[Window]:
        """Yield windows side by side that hold body; they overlap only to fit."""
        plan = Sweep(self.input.sides, self.sides, 0.0, 1, self.input.holds_body)
        body = self._padded((np.asarray(self.case.regions) & 1).astype(bool))
        for depth, places in plan.layers():
            rows = self.input.read(depth, depth + self.sides[0]) if places else None
            for place in places:
                assert rows is not None
                box = self._box(place)
                yield self._window(place, rows[(slice(None), slice(None), *box[1:])], body[box])

    def around(self, middle: np.ndarray, mask: np.ndarray, at: Sequence[int]) -> Window:
        """Return the window around a place, in which what counts is a mask.

        Args:
            middle: Of the window, in voxels of the case.
            mask: Booleans.
            at: Index in the case of the mask's first voxel.
        """
        before = [s.start for s in self.input.inner]
        wanted = [round(m + b - n / 2) for m, b, n in zip(middle, before, self.sides, strict=True)]
        place = tuple(
            int(np.clip(start, 0, whole - side))
            for start, whole, side in zip(wanted, self.input.sides, self.sides, strict=True)
        )
        rows = self.input.read(place[0], place[0] + self.sides[0])
        box = self._box(place)  # pyright: ignore[reportArgumentType]
        share = np.zeros(self.sides, bool)
        ours, theirs = [], []
        for start, first, shift, side, length in zip(
            at, before, place, self.sides, mask.shape, strict=True
        ):
            low = start + first - shift
            ours.append(slice(max(low, 0), max(min(low + length, side), 0)))
            theirs.append(slice(max(-low, 0), max(min(side - low, length), 0)))
        share[tuple(ours)] = mask[tuple(theirs)]
        return self._window(place, rows[(slice(None), slice(None), *box[1:])], share)  # pyright: ignore[reportArgumentType]

    def _box(self, place: IntTriple) -> tuple[slice, ...]:
        return tuple(slice(p, p + n) for p, n in zip(place, self.sides, strict=True))

    def _padded(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros(self.input.sides, values.dtype)
        found[self.input.inner] = values
        return found

    def _window(self, place: IntTriple, image: Tensor, share: np.ndarray) -> Window:
        before = [s.start for s in self.input.inner]
        d, h, w = (p - b for p, b in zip(place, before, strict=True))
        counts = torch.from_numpy(np.ascontiguousarray(share)).to(image.device).float()[None]
        return Window((d, h, w), image, counts)
