"""Feature maps of one encoder per modality: made, checked for a common shape, and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.geometry import IntTriple
from hilum.core.types import Available

from .base import FusionStrategy, Volumes, blank

Maps = dict[str, Tensor]
"""Feature map of each modality at one level, `[B, C, D, H, W]`."""


def common_pyramid(
    encoders: Sequence[nn.Module],
) -> tuple[tuple[int, ...], tuple[IntTriple, ...]]:
    """Return channels and strides of encoders that must agree in both."""
    found = {(encoder.channels, encoder.strides) for encoder in encoders}
    if len(found) != 1:
        raise ValueError(f"encoders must have equal channels and strides, got {sorted(found)}")  # pyright: ignore[reportArgumentType]
    return found.pop()  # pyright: ignore[reportReturnType]


def presence(strategy: FusionStrategy, available: Available) -> dict[str, Tensor]:
    """Return the availability of each modality as `[B, 1, 1, 1, 1]` booleans."""
    return {name: strategy.column(name, available) for name in strategy.modalities}


def encode(strategy: FusionStrategy, volumes: Volumes, present: Mapping[str, Tensor]) -> list[Maps]:
    """Return the maps of every modality, by level from fine to coarse.

    Maps of an absent modality are those of an empty volume: finite, and to be masked.
    """
    pyramids = {
        name: strategy.encoders[name](blank(volumes[name], present[name]))
        for name in strategy.modalities
    }
    levels = len(next(iter(pyramids.values())))
    return [{name: pyramid[level] for name, pyramid in pyramids.items()} for level in range(levels)]


def masked_mean(maps: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Average maps over the modalities that each case has."""
    total = sum(torch.where(present[name], x, torch.zeros_like(x)) for name, x in maps.items())
    count = sum(present[name].to(next(iter(maps.values())).dtype) for name in maps)
    return total / count  # pyright: ignore[reportReturnType]


def others_mean(
    maps: Mapping[str, Tensor], present: Mapping[str, Tensor], name: str
) -> tuple[Tensor, Tensor]:
    """Return the mean of a modality's available others, zero if there is none, and if there is one.

    Returns:
        The mean, and `[B, 1, 1, 1, 1]` booleans.
    """
    rest = [other for other in maps if other != name]
    own = maps[name]
    if not rest:
        return torch.zeros_like(own), torch.zeros_like(present[name])
    total = sum(torch.where(present[o], maps[o], torch.zeros_like(own)) for o in rest)
    count = sum(present[o].to(own.dtype) for o in rest)
    return total / count.clamp(min=1), count > 0  # pyright: ignore
