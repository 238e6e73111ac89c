"""Deformable cross-attention: each voxel looks at a few places of the other scan that it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import common_pyramid, encode, masked_mean, others_mean, presence


class DeformableFusion(FusionStrategy):
    r"""At the coarse levels each modality samples the others at learned offsets, then the mean.

    $$F_m'(p) = F_m(p) + a\, W_O \sum_k \alpha_k(p)\, V(p + \Delta_k(p)),$$

    where $V$ is a projection of the mean of the other available modalities, and weights $\alpha$
    (a softmax) and offsets $\Delta$ (voxels of the level, at most `reach`) come from both maps at
    $p$. A shifted pair is matched by its offsets. $W_O$ starts at zero, offsets start at zero:
    then it is mean fusion. Time is linear in the number of voxels.

    Source:
        Zhu et al., "Deformable DETR", ICLR 2021, arXiv:2010.04159, section 4.1, across modalities
        instead of scales; the bound of the offsets is ours.

    Args:
        points: Places that each head looks at.
        heads: Must divide the channels of the levels that take part.
        reach: Largest offset along an axis, in voxels of the level.
        min_stride: Finest stride (the smallest of the three axes) that takes part.
    """

    citation = ("Zhu, X. and others", "Deformable DETR", "ICLR", 2021, "arXiv:2010.04159")
    small: ClassVar = {"heads": 2, "min_stride": 2}

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        points: int = 4,
        heads: int = 4,
        reach: float = 3.0,
        min_stride: int = 4,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder = make_decoder(channels, strides)
        self.look = nn.ModuleDict(
            {
                f"{name}_{level}": DeformableAttention(channels[level], points, heads, reach)
                for level, stride in enumerate(strides)
                if min(stride) >= min_stride
                for name in (self.modalities if len(self.modalities) > 1 else ())
            }
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, let them look at each other, decode the mean."""
        check_available(available)
        present = presence(self, available)
        fused = []
        for level, maps in enumerate(encode(self, volumes, present)):
            found = dict(maps)
            for name, own in maps.items():
                if f"{name}_{level}" in self.look:
                    seen, some = others_mean(maps, present, name)
                    more = self.look[f"{name}_{level}"](own, seen)
                    found[name] = own + torch.where(some, more, torch.zeros_like(more))
            fused.append(masked_mean(found, present))
        return self.decoder(fused)

    def insight(self, volumes: Volumes, available: Available) -> dict[str, Tensor]:
        """Return how far each modality looks away from a voxel, at the finest level that looks.

        Returns:
            `offset_<name>`: length of the mean offset, weighted as what is found there, in voxels
            of the image; 0 where there is no other modality.
        """
        present = presence(self, available)
        for level, maps in enumerate(encode(self, volumes, present)):
            if f"{self.modalities[0]}_{level}" not in self.look:
                continue
            first = self.modalities[0]
            sides = zip(volumes[first].shape[2:], maps[first].shape[2:], strict=True)
            stride = maps[first].new_tensor([whole / part for whole, part in sides])
            found = {}
            for name, own in maps.items():
                seen, some = others_mean(maps, present, name)
                weights, offsets = self.look[f"{name}_{level}"].where(own, seen)  # pyright: ignore
                mean = (weights.unsqueeze(3) * offsets).sum(2).mean(1)
                length = (mean * stride.view(1, 3, 1, 1, 1)).norm(dim=1, keepdim=True)
                looks = some & present[name]
                found[f"offset_{name}"] = torch.where(looks, length, torch.zeros_like(length))
            return found
        return {}


class DeformableAttention(nn.Module):
    """What each voxel of one map finds at learned places of another.

    Args:
        channels: Of both maps.
        points: Places per head.
        heads: Must divide `channels`.
        reach: Largest offset along an axis, in voxels.
    """

    def __init__(self, channels: int, points: int = 4, heads: int = 4, reach: float = 3.0) -> None:
        super().__init__()
        if channels % heads or points < 1 or reach < 0:
            raise ValueError(
                f"heads must divide channels, got {heads=}, {channels=}, {points=}, {reach=}"
            )
        self.points, self.heads, self.reach = points, heads, reach
        self.norm = nn.GroupNorm(1, channels)
        self.offsets = nn.Conv3d(2 * channels, 3 * heads * points, 1)
        self.weights = nn.Conv3d(2 * channels, heads * points, 1)
        self.value, self.out = nn.Conv3d(channels, channels, 1), nn.Conv3d(channels, channels, 1)
        for layer in (self.offsets, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Return `[B, C, D, H, W]` for two maps of that shape."""
        batch, channels, *sides = own.shape
        weights, offsets = self.where(own, other)
        value = self.value(self.norm(other)).unflatten(1, (self.heads, -1)).flatten(0, 1)
        total = torch.zeros_like(value)
        for point in range(self.points):
            places = _places(offsets[:, :, point].flatten(0, 1))
            seen = F.grid_sample(
                value, places.to(value.dtype), padding_mode="border", align_corners=True
            )
            total = total + weights[:, :, point].flatten(0, 1).unsqueeze(1) * seen
        return self.out(total.view(batch, channels, *sides))

    def where(self, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights `[B, heads, points, ...]` and offsets `[B, heads, points, 3, ...]`."""
        batch, _, *sides = own.shape
        both = torch.cat([self.norm(own), self.norm(other)], 1)
        weights = self.weights(both).view(batch, self.heads, self.points, *sides).softmax(2)
        # Bounded and smooth: a voxel cannot look at the other end of the patient.
        offsets = self.reach * self.offsets(both).tanh()
        return weights, offsets.view(batch, self.heads, self.points, 3, *sides)


def _places(offsets: Tensor) -> Tensor:
    """Return where to sample, width first and in [-1, 1], for offsets `[B, 3, D, H, W]`."""
    sides = offsets.shape[2:]
    # Half precision could not tell one voxel of a large grid from the next.
    kind = torch.promote_types(offsets.dtype, torch.float32)
    axes = [torch.arange(n, device=offsets.device, dtype=kind) for n in sides]
    base = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    limits = torch.tensor([max(n - 1, 1) for n in sides], device=offsets.device)
    unit = (base + offsets) / limits.view(1, 3, 1, 1, 1) * 2 - 1
    return unit.movedim(1, -1).flip(-1)
