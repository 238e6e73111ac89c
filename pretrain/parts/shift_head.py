"""From two feature maps to the shift between them: correlation, softmax, expected place."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple, Triple


class ShiftHead(nn.Module):
    """Correlates two maps over all displacements in reach; has one weight, the sharpness.

    Args:
        step: Voxels that features are averaged over.
        most: Longest shift in voxels along each axis.
        spacing: mm per voxel.
    """

    def __init__(self, step: IntTriple, most: IntTriple, spacing: Triple) -> None:
        super().__init__()
        self.step = step
        # One place beyond the longest, so that the expected place can reach it.
        reach = [-(-m // s) + 1 if m else 0 for m, s in zip(most, step, strict=True)]
        self.reach: IntTriple = (reach[0], reach[1], reach[2])
        self.sharpness = nn.Parameter(torch.tensor(log(20.0)))
        axes = [
            torch.arange(-r, r + 1) * float(s * size)
            for r, s, size in zip(self.reach, step, spacing, strict=True)
        ]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
        self.register_buffer("places", places, persistent=False)

    def forward(self, first: Tensor, second: Tensor, where: Tensor) -> Tensor:
        """Return by how many mm the second lies off the first, `[B, 3]`.

        Args:
            first: `[B, C, D, H, W]`.
            second: The same shape.
            where: `[B, 1, D, H, W]` booleans: what counts.
        """
        # Transforms and their sums need more digits than bfloat16 has.
        with torch.autocast(first.device.type, enabled=False):
            alike = self.correlate(first.float(), second.float(), where)
            chance = (self.sharpness.exp().clamp(max=1e3) * alike.flatten(1)).softmax(1)
            return chance @ self.get_buffer("places")

    def correlate(self, first: Tensor, second: Tensor, where: Tensor) -> Tensor:
        """Return how alike the maps are at each displacement in reach, from -1 to 1.

        Fourier transforms of maps with a margin of 0 beyond the map: the sums are not cyclic.

        Returns:
            `[B, 2 r + 1, ...]` for the reach `r` along each axis, `-r` first.
        """
        share = F.avg_pool3d(where.float(), self.step, self.step)
        one, two = (self._prepare(f, where.float(), share) for f in (first, second))
        sides = [n + r for n, r in zip(one.shape[2:], self.reach, strict=True)]
        axes = (2, 3, 4)
        cross = torch.fft.rfftn(one, s=sides, dim=axes).conj() * torch.fft.rfftn(
            two, s=sides, dim=axes
        )
        sums = torch.fft.irfftn(cross.sum(1), s=sides, dim=(1, 2, 3))
        for axis, r in enumerate(self.reach, 1):
            sums = sums.roll(r, axis).narrow(axis, 0, 2 * r + 1)
        norm = (one.square().sum((1, 2, 3, 4)) * two.square().sum((1, 2, 3, 4)) + 1e-12).sqrt()
        return sums / norm[:, None, None, None]

    def _prepare(self, features: Tensor, where: Tensor, share: Tensor) -> Tensor:
        """Average over steps, and bring the mean over what counts to 0."""
        pooled = F.avg_pool3d(torch.where(where > 0, features, 0.0), self.step, self.step)
        mean = pooled.sum((2, 3, 4), keepdim=True) / share.sum((2, 3, 4), keepdim=True).clamp(
            min=1e-6
        )
        return pooled - mean * share


def spacing_of(spacing: Sequence[float]) -> Triple:
    """Return a spacing in mm, checked."""
    if len(spacing) != 3 or min(spacing) <= 0:
        raise SettingsError("spacing must be three lengths in mm above 0", found=spacing)
    return float(spacing[0]), float(spacing[1]), float(spacing[2])


def longest_shift(longest: float, spacing: Triple) -> IntTriple:
    """Return the longest shift in voxels along each axis."""
    d, h, w = (int(longest / size + 1e-6) for size in spacing)
    if max(d, h, w) < 1:
        raise SettingsError(
            "longest must reach one voxel",
            found=f"{longest} mm with spacing {spacing}",
            remedy="raise longest, or prepare at a finer spacing",
        )
    return d, h, w
