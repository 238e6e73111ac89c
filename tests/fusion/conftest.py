"""Tiny fusion strategies and volumes for the tests of single strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder

SIDES = (4, 8, 6)


@pytest.fixture
def build() -> Callable[..., Any]:
    """Return a function that makes a strategy at its start, in double precision."""

    def make(cls: Any, modalities: tuple[str, ...] = ("ct", "pet"), **parameters: Any) -> Any:
        torch.manual_seed(0)
        encoders = {
            key: ResencEncoder(in_channels=len(seen), features=[4, 8], blocks=[1, 1])
            for key, seen in cls.inputs(modalities, **parameters).items()
        }
        strategy = cls(
            modalities=modalities,
            encoders=encoders,
            make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
            **parameters,
        )
        return strategy.double().eval()

    return make


@pytest.fixture
def stir() -> Callable[..., None]:
    """Return a function that leaves the start, as training does."""

    def leave(module: torch.nn.Module, amount: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data += amount * noise

    return leave


@pytest.fixture
def given() -> dict[str, Tensor]:
    """Return the volumes of three cases: both modalities, CT alone, PET alone."""
    generator = torch.Generator().manual_seed(2)
    return {
        name: torch.randn(3, 1, *SIDES, generator=generator, dtype=torch.float64)
        for name in ("ct", "pet")
    }


@pytest.fixture
def available() -> Tensor:
    """Return which of `given` counts."""
    return torch.tensor([[True, True], [True, False], [False, True]])
