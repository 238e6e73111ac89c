"""Computing a part again changes neither gradients nor running statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.testing import assert_close

from hilum.encoders.activation_checkpointing import recompute


def net() -> nn.Sequential:
    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.Dropout(0.5), nn.ReLU(True))
    return nn.Sequential(part, nn.Conv3d(4, 1, 1))


def step(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    torch.manual_seed(1)
    module(x).square().sum().backward()
    return {name: p.grad for name, p in module.named_parameters()}


def test_gradients_and_running_statistics_are_the_same() -> None:
    plain, again, x = net(), net(), torch.randn(2, 2, 4, 5, 6)
    recompute([again[0]])
    assert_close(step(again, x), step(plain, x), rtol=0, atol=0)
    assert_close(dict(again.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
    assert again.get_buffer("0.1.num_batches_tracked") == 1


def test_it_is_computed_twice_with_gradients_and_once_without() -> None:
    module, calls = net(), []
    recompute([module[0]])
    module[0].get_submodule("0").register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 2, 4, 5, 6)
    step(module, x)
    assert len(calls) == 2
    with torch.no_grad():
        module(x)
    assert len(calls) == 3


def test_a_copy_is_its_own() -> None:
    module = net()
    recompute([module[0]])
    other = copy.deepcopy(module)
    for parameter in other.parameters():
        parameter.data.zero_()
    x = torch.randn(2, 2, 4, 5, 6)
    assert other(x).abs().sum() == 0
    assert module(x).abs().sum() > 0
