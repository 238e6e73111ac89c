"""bfloat16 on a processor must give the gradients of float32, at a depth of 2, too."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hilum.core.precision import autocast_dtype, guard_bf16_conv3d

Make = Callable[[], nn.Conv3d | nn.ConvTranspose3d]


def dirty_memory() -> None:
    """Leave large numbers where the next allocations will lie."""
    blocks = [torch.full((size,), 1e30) for size in (1 << 12, 1 << 16, 1 << 20) for _ in range(4)]
    del blocks


# Without the guard, torch 2.15 on a processor with avx512_bf16 gets each of these wrong (gradients
# of 1e37, NaN). Nothing here demands that; a later torch may be right by itself.
WRONG: dict[str, tuple[Make, int]] = {
    "kernel 3": (lambda: nn.Conv3d(16, 16, 3, padding=1), 2),
    "kernel 3, many channels": (lambda: nn.Conv3d(64, 64, 3, padding=1), 2),
    "kernel 3 along the depth only": (lambda: nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0)), 2),
    "kernel 5 at 3 slices": (lambda: nn.Conv3d(16, 16, 5, padding=2), 3),
    "kernel 5 at 4 slices": (lambda: nn.Conv3d(16, 16, 5, padding=2), 4),
    "kernel 5, stride 2": (lambda: nn.Conv3d(16, 16, 5, 2, 2), 4),
    "kernel 7, stride 2": (lambda: nn.Conv3d(16, 16, 7, 2, 3), 4),
    "kernel 7, stride 2, wrong in float32": (lambda: nn.Conv3d(16, 16, 7, 2, 3), 7),
    "kernel 7, stride 2, a crash in float32": (lambda: nn.Conv3d(16, 16, 7, 2, 3), 5),
    "transposed, kernel 3": (lambda: nn.ConvTranspose3d(16, 16, 3, 1, 1), 2),
    "transposed, kernel 5": (lambda: nn.ConvTranspose3d(16, 16, 5, 1, 2), 4),
    "transposed, kernel 5, stride 2": (lambda: nn.ConvTranspose3d(16, 16, 5, 2, 2), 2),
}
# Right without it, and to stay so.
RIGHT: dict[str, tuple[Make, int]] = {
    "kernel 3 at 3 slices": (lambda: nn.Conv3d(16, 16, 3, padding=1), 3),
    "kernel in the plane": (lambda: nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1)), 2),
    "kernel 1": (lambda: nn.Conv3d(16, 16, 1), 2),
    "transposed without overlap": (lambda: nn.ConvTranspose3d(16, 16, 2, 2), 2),
}


@pytest.mark.parametrize("name", [*WRONG, *RIGHT])
def test_a_guarded_gradient_equals_that_of_float64(name: str) -> None:
    make, depth = (WRONG | RIGHT)[name]
    torch.manual_seed(0)
    conv = make()
    x = torch.randn(2, conv.in_channels, depth, 4, 6)
    # Not float32, which is wrong itself for some.
    exact = copy.deepcopy(conv).double()
    exact(x.double()).square().mean().backward()
    assert exact.weight.grad is not None
    expected = exact.weight.grad.float()
    guard_bf16_conv3d(conv)
    for _ in range(3):
        conv.zero_grad()
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x)
        out.float().square().mean().backward()
        assert conv.weight.grad is not None
        error = float((conv.weight.grad - expected).norm() / expected.norm())
        assert error < 0.02


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_keeps_its_speed(name: str) -> None:
    make, depth = RIGHT[name]
    conv = guard_bf16_conv3d(make())
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(2, 16, depth, 4, 6)).dtype == torch.bfloat16


def test_the_size_of_a_transposed_output_may_be_asked_for() -> None:
    conv = guard_bf16_conv3d(nn.ConvTranspose3d(2, 2, 3, 2, 1))
    x = torch.randn(1, 2, 2, 3, 4)
    assert conv(x, output_size=[4, 6, 8]).shape[2:] == (4, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x, [4, 6, 8]).shape[2:] == (4, 6, 8)


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
