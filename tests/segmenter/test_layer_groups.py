"""Layers are found in the order of the forward pass, for any encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.resenc import ResencEncoder
from hilum.segmenter.layer_groups import called_modules, decayed_rates, layers_of


class Tokens(Encoder):
    """A transformer in miniature whose members are registered in a misleading order."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.channels, self.strides, self.stem = 1, (4,), ((2, 2, 2),), ()
        self.norm = nn.LayerNorm(4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.position = nn.Parameter(torch.zeros(1, 4, 1, 1, 1))
        self.patches = nn.Conv3d(1, 4, 2, 2)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (self.patches(image) + self.position).movedim(1, -1)
        for block in reversed(self.blocks):
            x = block(x)
        return [self.norm(x).movedim(-1, 1)]


class Stubborn(Tokens):
    """Cannot run without memory."""

    def forward(self, image: Tensor) -> list[Tensor]:
        if float(image.sum()) != 0:
            raise ValueError("zeros only")
        return super().forward(image)


def named(encoder: Encoder, layers: list[list[nn.Parameter]]) -> list[list[str]]:
    names = {id(p): name for name, p in encoder.named_parameters()}
    return [sorted(names[id(p)] for p in layer) for layer in layers]


@pytest.mark.parametrize("kind", [Tokens, Stubborn])
def test_layers_follow_the_forward_pass_not_the_registration(kind: type[Encoder]) -> None:
    encoder = kind()
    assert named(encoder, layers_of(encoder, (2, 4, 6))) == [
        ["patches.bias", "patches.weight", "position"],
        ["blocks.1.bias", "blocks.1.weight"],
        ["blocks.0.bias", "blocks.0.weight", "norm.bias", "norm.weight"],
    ]
    assert encoder.training


def test_a_residual_encoder_has_a_layer_per_stage_behind_its_stem() -> None:
    encoder = ResencEncoder(in_channels=2, features=[4, 8, 12], blocks=[1, 2, 1])
    found = named(encoder, layers_of(encoder, (4, 8, 12)))
    starts = ["inner.stem.", "inner.stages.0.", "inner.stages.1.", "inner.stages.2."]
    assert len(found) == 4
    for layer, start in zip(found, starts, strict=True):
        assert all(name.startswith(start) for name in layer)


SMALL: dict[str, dict[str, Any]] = {
    "resenc": {"features": [4, 8], "blocks": [1, 1]},
    "segresnet": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    encoder = ENCODERS[name](in_channels=1, **SMALL[name])
    layers = layers_of(encoder, (16, 16, 32))
    ids = [id(p) for layer in layers for p in layer]
    assert sorted(ids) == sorted(id(p) for p in encoder.parameters())
    assert len(layers) >= len(encoder.channels)


def test_only_called_parts_are_listed() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.called, self.read = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(self.called(x), self.read.weight)

    module = Reads()
    assert called_modules(module, torch.zeros(1, 2)) == [module, module.called]


def test_rates_fall_towards_the_image() -> None:
    assert decayed_rates(4, 0.5) == [0.125, 0.25, 0.5, 1.0]
    assert decayed_rates(2, 1.0) == [1.0, 1.0]
