"""Give a network the rows of a prepared case, padded to a window, on the scale of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hilum.core.geometry import IntTriple
from hilum.core.input_scale import standardise
from hilum.core.modality import modality
from hilum.datasets.store.case_store import PreparedCase, StoredCase
from hilum.datasets.store.moments import moments

AnyCase = StoredCase | PreparedCase


class PaddedInput:
    """The input of a network, row by row. Final.

    Modalities that are absent, or not to be used, are zeros.

    Args:
        channels: Modalities of the network.
        case: Where they come from.
        names: Those to use.
        window: A smaller case lies in the middle of what lies outside of a scan.
        device: Where the rows go.
        zscored: Modalities that the network sees as the z-score of their whole volume.

    Attributes:
        sides: Of the padded case.
        inner: Where the case lies in it.
    """

    def __init__(
        self,
        channels: Sequence[str],
        case: AnyCase,
        names: Sequence[str],
        window: IntTriple,
        device: torch.device,
        zscored: Sequence[str] = (),
    ) -> None:
        sides = case.images.shape[1:]
        before = [max(w - s, 0) // 2 for w, s in zip(window, sides, strict=True)]
        d, h, w = (max(w, s) for w, s in zip(window, sides, strict=True))
        self.sides: IntTriple = (d, h, w)
        self.inner = tuple(slice(b, b + s) for b, s in zip(before, sides, strict=True))
        self.channels, self.case, self.names = channels, case, names
        self.window, self.device = window, device
        self.moments = {
            name: moments(case.images, case.regions, case.modalities.index(name))
            for name in names
            if name in zscored
        }

    def read(self, start: int, stop: int) -> Tensor:
        """Return rows of the input, on the scale of the network, `[channels, rows, H, W]`."""
        image = np.zeros((len(self.channels), stop - start, *self.sides[1:]), np.float32)
        depth, height, width = self.inner
        low, high = max(start, depth.start), min(stop, depth.stop)
        for channel, name in enumerate(self.channels):
            if name in self.moments:
                where = image[channel, max(low - start, 0) : max(high - start, 0), height, width]
                where[:] = self._zscore(name, low - depth.start, high - depth.start)
            elif name in self.names:
                rule = modality(name)
                image[channel] = rule.encode(np.array([rule.fill], np.float32))[0]
                row = self.case.modalities.index(name)
                part = self.case.images[row, low - depth.start : max(high - depth.start, 0)]
                inside = image[channel, low - start : max(high - start, 0), height, width]
                inside[:] = rule.encode(np.asarray(part, np.float32))
        return torch.from_numpy(image).to(self.device)

    def _zscore(self, name: str, low: int, high: int) -> np.ndarray:
        """Return rows of the case, 0 outside of the field of view."""
        row, rows = self.case.modalities.index(name), slice(max(low, 0), max(high, 0))
        inside = (np.asarray(self.case.regions[rows]) >> (row + 1)) & 1
        values = np.asarray(self.case.images[row, rows], np.float32)
        return np.where(inside, standardise(values, *self.moments[name]), 0).astype(np.float32)

    def holds_body(self, place: IntTriple) -> bool:
        """Tell whether a window that begins somewhere has a voxel of the body."""
        box = tuple(
            slice(max(p - s.start, 0), max(p - s.start + n, 0))
            for p, n, s in zip(place, self.window, self.inner, strict=True)
        )
        return bool((np.asarray(self.case.regions[box]) & 1).any())
