"""bfloat16 on a processor must give the gradients of float32, at a depth of 2, too."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hilum.core.precision import autocast_dtype, guard_bf16_conv3d


def dirty_memory() -> None:
    """Leave large numbers where the next allocations will lie."""
    blocks = [torch.full((size,), 1e30) for size in (1 << 12, 1 << 16, 1 << 20) for _ in range(4)]
    del blocks


@pytest.mark.parametrize("sides", [(2, 2, 2), (2, 4, 4), (2, 2, 8), (4, 2, 2)])
@pytest.mark.parametrize("channels", [16, 64])
def test_a_guarded_gradient_equals_float32(sides: tuple[int, int, int], channels: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(channels, channels, 3, padding=1)
    x = torch.randn(2, channels, *sides)
    conv(x).square().mean().backward()
    assert conv.weight.grad is not None
    expected = conv.weight.grad.clone()
    guard_bf16_conv3d(conv)
    for _ in range(3):
        conv.zero_grad()
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x)
        out.float().square().mean().backward()
        error = (conv.weight.grad - expected).norm() / expected.norm()
        assert error < 0.02


def test_the_guard_changes_nothing_else() -> None:
    net = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 1))
    keys, x = list(net.state_dict()), torch.randn(1, 2, 2, 4, 4)
    expected = net(x)
    assert guard_bf16_conv3d(guard_bf16_conv3d(net)) is net
    assert list(net.state_dict()) == keys
    assert_close(net(x), expected, rtol=0, atol=0)


def test_a_guarded_copy_is_independent() -> None:
    net = guard_bf16_conv3d(nn.Conv3d(1, 1, 3, padding=1))
    twin = copy.deepcopy(net)
    x = torch.randn(1, 1, 2, 3, 4)
    expected = net(x)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert_close(net(x), expected, rtol=0, atol=0)
    assert (twin(x) == 0).all()


def test_float32_where_bfloat16_would_be_emulated() -> None:
    assert autocast_dtype("cpu") in (None, torch.bfloat16)
