"""Bottleneck tokens are the only way from one modality to another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.bottleneck import Attend, BottleneckFusion
from hilum.fusion.mean import MeanFusion
from hilum.fusion.pyramids import encode, presence

FEW = {"heads": 2, "min_stride": 2, "tokens": 3}


def test_at_step_0_it_is_mean_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion, mean = build(BottleneckFusion, **FEW), build(MeanFusion)
    mean.load_state_dict(fusion.state_dict(), strict=False)
    assert_close(fusion(given, available), mean(given, available))


def slow(layer: Attend, own: Tensor, seen: Tensor) -> Tensor:
    """Attend one token and one head at a time."""
    w_k, w_v = layer.memory.weight.chunk(2)
    b_k, b_v = layer.memory.bias.chunk(2)
    rows, size = [], own.shape[1] // layer.heads
    for token in own:
        query, parts = layer.query(token), []
        for head in range(layer.heads):
            at = slice(head * size, (head + 1) * size)
            keys, values = seen @ w_k[at].T + b_k[at], seen @ w_v[at].T + b_v[at]
            parts.append(torch.softmax(keys @ query[at] / size**0.5, 0) @ values)
        rows.append(layer.out(torch.cat(parts)))
    return torch.stack(rows)


def test_it_equals_the_formula(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(BottleneckFusion, **FEW)
    stir(fusion)
    present = presence(fusion, available)
    maps = encode(fusion, given, present)[1]
    layer = fusion.exchange["1"]
    found = layer(maps, present)
    for case in range(3):
        have = [name for name in maps if present[name][case].item()]
        voxels = {name: layer.norm(maps[name][case].flatten(1).T) for name in maps}
        heard = [layer.tokens + slow(layer.collect[m], layer.tokens, voxels[m]) for m in have]
        tokens = layer.norm(sum(heard) / len(have))
        for name in have:
            more = slow(layer.spread[name], voxels[name], tokens)
            expected = maps[name][case] + more.T.view_as(maps[name][case])
            assert_close(found[name][case], expected)


def test_heads_must_divide_channels(build: Callable) -> None:
    with pytest.raises(ValueError, match="heads must divide channels, got heads=3"):
        build(BottleneckFusion, heads=3, min_stride=1)
