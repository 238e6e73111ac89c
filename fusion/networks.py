"""A whole network per modality, for the strategies that combine predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, blank


def own_decoders(
    modalities: Sequence[str], encoders: Mapping[str, nn.Module], make_decoder: MakeDecoder
) -> nn.ModuleDict:
    """Return a decoder for the encoder of each modality."""
    return nn.ModuleDict(
        {
            name: make_decoder(encoders[name].channels, encoders[name].strides)  # pyright: ignore[reportArgumentType]
            for name in modalities
        }
    )


def predict(
    strategy: FusionStrategy, decoders: nn.ModuleDict, volumes: Volumes, available: Available
) -> list[Tensor]:
    """Return the logits of every modality's network, stacked along a new first axis, by level.

    Those of an absent modality are finite, and to be masked.
    """
    every = []
    for name in strategy.modalities:
        volume = blank(volumes[name], strategy.column(name, available))
        every.append(decoders[name](strategy.encoders[name](volume)))
    return [torch.stack(level) for level in zip(*every, strict=True)]


def rows(strategy: FusionStrategy, available: Available) -> Tensor:
    """Return the availability to go with `predict`: `[M, B, 1, 1, 1, 1]` booleans."""
    return torch.stack([strategy.column(name, available) for name in strategy.modalities])
