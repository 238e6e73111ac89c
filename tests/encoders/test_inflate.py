"""Each inflated layer gives, on slices that are all alike, what its 2D layer gives on one."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.squeeze_excite import SEModule
from torch import nn
from torch.testing import assert_close

from hilum.core.precision import guard_bf16_conv3d
from hilum.encoders.inflate import inflate

LAYERS = {
    "convolution": nn.Conv2d(4, 6, 3, padding=1),
    "large kernel and stride": nn.Conv2d(4, 6, 7, 2, 3),
    "dilation and groups": nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2),
    "no padding": nn.Conv2d(4, 6, 1, bias=False),
    "maximum": nn.MaxPool2d(3, 2, 1),
    "mean": nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
    "squeeze and excitation": SEModule(4, rd_channels=2),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("depth", [2, 5, 8])
def test_every_slice_equals_the_2d_layer(name: str, depth: int) -> None:
    flat = nn.Sequential(copy.deepcopy(LAYERS[name]))
    image = torch.randn(2, 4, 12, 8)
    expected = flat(image)
    found = inflate(flat)(image.unsqueeze(2).repeat(1, 1, depth, 1, 1))
    for number in range(found.shape[2]):
        assert_close(found[:, :, number], expected)


def test_one_slice_alone_is_the_2d_network() -> None:
    flat = nn.Sequential(nn.Conv2d(4, 6, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    image = torch.randn(2, 4, 12, 8)
    expected = flat(image)
    assert_close(inflate(flat)(image.unsqueeze(2)).squeeze(2), expected)


def test_a_convolution_by_hand() -> None:
    """On slices that differ: the mean of the 2D results of each slice and its neighbours."""
    flat = nn.Conv2d(2, 3, 3, padding=1)
    volume = torch.randn(1, 2, 4, 5, 6)
    slices = torch.stack([flat(volume[:, :, d]) for d in range(4)], 2)
    ended = torch.cat([slices[:, :, :1], slices, slices[:, :, -1:]], 2)
    expected = (ended[:, :, :-2] + ended[:, :, 1:-1] + ended[:, :, 2:]) / 3
    assert_close(inflate(nn.Sequential(flat))(volume), expected)


def test_squeeze_and_excitation_by_hand() -> None:
    """The code of timm would average depth and height only, and gate each column apart."""
    flat = SEModule(4, rd_channels=2)
    weights = {key: value.flatten(1) if value.ndim > 1 else value
               for key, value in flat.state_dict().items()}  # fmt: skip
    volume = torch.randn(2, 4, 3, 5, 6)
    squeezed = volume.flatten(2).mean(2) @ weights["fc1.weight"].T + weights["fc1.bias"]
    gate = torch.sigmoid(squeezed.relu() @ weights["fc2.weight"].T + weights["fc2.bias"])
    assert_close(inflate(nn.Sequential(flat))(volume), volume * gate[:, :, None, None, None])


def test_the_guard_of_bfloat16_keeps_the_continued_ends() -> None:
    net = inflate(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1)))
    volume = torch.randn(1, 2, 2, 4, 6)
    expected = net(volume)
    assert_close(guard_bf16_conv3d(net)(volume), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(net(volume), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(2, 2, 3, padding="same"), "pad by name"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "Conv2d with circular"),
        (nn.AvgPool2d(3, 1, 1), "mean over padded zeros"),
        (nn.InstanceNorm2d(2), "no 3D counterpart for InstanceNorm2d"),
        (SEModule(4, rd_channels=2, add_maxpool=True), "with a maximum"),
    ],
)
def test_what_would_not_be_exact_is_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        inflate(nn.Sequential(layer))
