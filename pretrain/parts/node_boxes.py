"""Boxes around places of volumes: taken out and laid back without a loop over voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hilum.core.geometry import IntTriple, Triple


@dataclass(frozen=True)
class Boxes:
    """One box of equal sides around each place, moved as far as it must to lie inside. Final.

    Attributes:
        sides: Of each box.
        flat: Flat index in the volume of each of a box's voxels `[B, K, d * h * w]`.
        offset_mm: From the place to each voxel, along depth, height, width `[B, K, 3, d, h, w]`.
    """

    sides: IntTriple
    flat: Tensor
    offset_mm: Tensor

    @classmethod
    def around(
        cls, places: Tensor, reach_mm: float, volume: Sequence[int], spacing: Triple
    ) -> Boxes:
        """Return the boxes that hold all within `reach_mm` of places `[B, K, 3]`, in voxels."""
        d, h, w = (
            min(2 * int(reach_mm / step) + 3, side)
            for side, step in zip(volume, spacing, strict=True)
        )
        sides: IntTriple = (d, h, w)
        far: list[Tensor] = []
        flat, stride = places.new_zeros((), dtype=torch.long), 1
        for axis in (2, 1, 0):
            side, whole = sides[axis], volume[axis]
            place = places[..., axis]
            low = (place.round().long() - side // 2).clamp(min=0).clamp(max=whole - side)
            index = low[..., None] + torch.arange(side, device=places.device)
            along = [1, 1, 1]
            along[axis] = side
            flat = flat + (index * stride).unflatten(-1, along)
            far.append(((index - place[..., None]) * spacing[axis]).unflatten(-1, along))
            stride *= whole
        offset = torch.stack([one.expand(*places.shape[:2], *sides) for one in far[::-1]], 2)
        return cls(sides, flat.flatten(2), offset)

    def take(self, volume: Tensor) -> Tensor:
        """Return `[B, K, d, h, w]` out of volumes `[B, D, H, W]`."""
        picked = volume.flatten(1).gather(1, self.flat.flatten(1))
        return picked.view(*self.flat.shape[:2], *self.sides)

    def paint(self, canvas: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
        """Return a canvas with every box painted over it, the first at the bottom.

        Args:
            canvas: `[B, C, D, H, W]`.
            colour: `[B, K, C, d, h, w]`, or 1 along any of the sides.
            cover: How much of the canvas it hides, 0 to 1, alike.
        """
        result = canvas.clone(memory_format=torch.contiguous_format)
        self.paint_into(result, colour, cover)
        return result

    def paint_into(self, canvas: Tensor, colour: Tensor, cover: Tensor) -> None:
        """Paint as `paint` does, over this very canvas, which must be contiguous."""
        result = canvas.flatten(2)
        channels = result.shape[1]
        for k in range(self.flat.shape[1]):
            where = self.flat[:, k, None].expand(-1, channels, -1)
            before = result.gather(2, where).unflatten(2, self.sides)
            after = before + cover[:, k] * (colour[:, k] - before)
            result.scatter_(2, where, after.flatten(2))
