"""What is hidden reaches no feature of a visible place, and no norm counts it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.testing import assert_close

from hilum.encoders.segresnet import SegresnetEncoder
from hilum.encoders.unet3d import Unet3DEncoder
from hilum.pretrain.parts.sparse import sparse, unfit


def half(sides: tuple[int, int, int] = (8, 16, 16)) -> torch.Tensor:
    visible = torch.ones(1, 1, *sides, dtype=torch.bool)
    visible[..., 8:] = False
    return visible


def test_hidden_values_reach_no_feature(made: Any) -> None:
    x = torch.randn(1, 2, 8, 16, 16)
    other = torch.where(half(), x, torch.randn_like(x))
    for encoder in (
        made.encoder((4, 8, 8)),
        Unet3DEncoder(in_channels=2, features=4),
        SegresnetEncoder(in_channels=2, filters=8, blocks=(1, 1)),
    ):
        with sparse(encoder, half()):
            one, two = encoder(x * half()), encoder(other * half())
        for a, b in zip(one, two, strict=True):
            assert_close(a, b, rtol=0, atol=0)
            assert (a[..., a.shape[-1] // 2 :] == 0).all() or isinstance(encoder, SegresnetEncoder)


def test_with_everything_visible_it_is_the_network(made: Any) -> None:
    encoder, x = made.encoder((4, 8)), torch.randn(2, 2, 8, 16, 16)
    with sparse(encoder, torch.ones(2, 1, 8, 16, 16, dtype=torch.bool)):
        found = encoder(x)
    for a, b in zip(found, encoder(x), strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_norm_counts_visible_places_by_hand() -> None:
    norm, x = nn.InstanceNorm3d(3, affine=True), torch.randn(1, 3, 8, 16, 16)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    with sparse(norm, half()):
        found = norm(x)
    assert_close(found[..., :8], norm(x[..., :8]), rtol=1e-4, atol=1e-5)
    assert (found[..., 8:] == 0).all()


def test_hooks_are_gone_afterwards_and_mixing_layers_are_named(made: Any) -> None:
    encoder = made.encoder()
    with sparse(encoder, half()):
        pass
    assert not any(part._forward_hooks for part in encoder.modules())
    assert unfit(encoder) == []
    assert unfit(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3))) == ["LayerNorm", "Linear"]
