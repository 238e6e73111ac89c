"""Small convolutions of one patch: the same function, taken by oneDNN."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from hilum.core.conv3d_cpu_workaround import halved_small_maps

LAYERS = {
    "kernel 3": nn.Conv3d(3, 5, 3, padding=1),
    "no padding": nn.Conv3d(3, 5, 3),
    "wide padding": nn.Conv3d(3, 5, 3, padding=2),
    "no bias": nn.Conv3d(3, 5, 3, padding=1, bias=False),
    "kernel 1": nn.Conv3d(3, 5, 1),
    "in the plane": nn.Conv3d(3, 5, (1, 3, 3), padding=(0, 1, 1)),
    "even kernel": nn.Conv3d(3, 5, 2, padding=1),
    "long in depth": nn.Conv3d(3, 5, (5, 3, 1), padding=(2, 1, 0)),
    "stride": nn.Conv3d(3, 5, 3, 2, 1),
    "groups": nn.Conv3d(4, 4, 3, padding=1, groups=2),
    "dilation": nn.Conv3d(3, 5, 3, padding=2, dilation=2),
    "circular": nn.Conv3d(3, 5, 3, padding=1, padding_mode="circular"),
    "same": nn.Conv3d(3, 5, 3, padding="same"),
    "transposed": nn.ConvTranspose3d(3, 5, 2, 2),
}


def gradients(layer: nn.Module, image: Tensor) -> list[Tensor]:
    layer.zero_grad()
    image = image.clone().requires_grad_()
    out = layer(image)
    out.square().sum().backward()
    assert image.grad is not None
    return [out.detach(), image.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]


@pytest.mark.parametrize("depth", [3, 4, 7])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_those_of_float64(name: str, depth: int) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(LAYERS[name])
    channels = layer.in_channels
    assert isinstance(channels, int)
    image = torch.randn(1, channels, depth, 6, 5)
    exact = [x.float() for x in gradients(copy.deepcopy(layer).double(), image.double())]
    net = nn.Sequential(layer)
    with halved_small_maps(net):
        found = gradients(net, image)
    for ours, theirs in zip(found, exact, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def operations(net: nn.Module, image: Tensor) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        net(image).sum().backward()
    return {event.name for event in seen.events() or ()}


def test_only_a_small_map_of_one_patch_goes_another_way() -> None:
    net = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1))
    slow = "aten::slow_conv3d_forward"
    small, large = torch.randn(1, 4, 8, 8, 8), torch.randn(1, 4, 8, 1024, 3)
    if slow not in operations(net, small):
        pytest.skip("this torch has oneDNN take small maps, too")
    with halved_small_maps(net):
        assert slow not in operations(net, small)
        for image in (small.repeat(2, 1, 1, 1, 1), large):
            assert "aten::cat" not in operations(net, image)
        with torch.autocast("cpu", torch.bfloat16):
            assert "aten::cat" not in operations(net, small)
    assert slow in operations(net, small), "nothing must stay behind the block"


def test_a_layer_with_a_forward_pass_of_its_own_keeps_it() -> None:
    conv = nn.Conv3d(2, 2, 1)
    conv.forward = own = lambda image: image  # pyright: ignore[reportAttributeAccessIssue]
    with halved_small_maps(nn.Sequential(conv)):
        assert conv.forward is own
    assert conv.forward is own
