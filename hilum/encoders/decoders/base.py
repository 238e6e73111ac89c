"""The contract of a decoder: from a pyramid of features to outputs on the grid of the image."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple


class Decoder(nn.Module, ABC):
    """Feature maps go in, outputs come out, full resolution first. Subclasses are final.

    Attributes:
        spec: Name and parameters that build it again.
        small: Parameters of a small one, which the contract tests build.
        small_pyramid: Channels and strides of a small pyramid that it takes, for the same.

    The constructor gets `channels`, `strides` (of the pyramid, finest first) and `classes` (output
    channels), and as far as it names them `deep_supervision` and `prior`; all else is a parameter
    that JSON can hold.
    """

    small: ClassVar[Mapping[str, Any]] = {}
    small_pyramid: ClassVar[tuple[tuple[int, ...], tuple[IntTriple, ...]]] = (
        (8, 16, 16),
        ((1, 1, 1), (1, 2, 2), (2, 4, 4)),
    )
    spec: dict[str, Any]

    @abstractmethod
    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return outputs `[B, classes, D, H, W]`, the first at full resolution, then coarser."""

    @abstractmethod
    def head_rows(self) -> list[dict[str, nn.Parameter]]:
        """Return the parameters with one row per output channel, by name; finest level first."""

    def body(self) -> dict[str, Tensor]:
        """Return the state without the heads."""
        own = {name for level in self.head_rows() for name in level}
        return {name: value for name, value in self.state_dict().items() if name not in own}


def level_of(module: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """Return the parameters of the head that has this name inside of a decoder."""
    head = module.get_submodule(name)
    return {f"{name}.{key}": value for key, value in head.named_parameters()}


def start_at_prior(heads: Sequence[Mapping[str, nn.Parameter]], prior: float | None) -> None:
    """Set the bias of each head to the log of the foreground's prior odds; channel 0 gets 0.

    `None` and single channels stay as they are.
    """
    if prior is None:
        return
    with torch.no_grad():
        for level in heads:
            for bias in level.values():
                if bias.ndim == 1 and len(bias) > 1:
                    bias.zero_()
                    bias[1:] = prior_odds(prior, len(bias))


def prior_odds(prior: float, classes: int) -> float:
    """Return the log odds of one class against the background, if all but it have this share."""
    return math.log(prior / (1 - prior * (classes - 1)))


def steps_of(strides: Sequence[IntTriple]) -> list[IntTriple]:
    """Return the stride between neighbouring maps, finest pair first.

    Raises:
        SettingsError: If the finest map is not at full resolution.
    """
    if tuple(strides[0]) != (1, 1, 1):
        raise SettingsError(
            "this decoder needs an encoder with a map at full resolution",
            found=f"strides {tuple(strides)}",
            remedy="use the decoder pyramid",
        )
    steps: list[IntTriple] = []
    for fine, coarse in pairwise(strides):
        d, h, w = (c // f for c, f in zip(coarse, fine, strict=True))
        steps.append((d, h, w))
    return steps
