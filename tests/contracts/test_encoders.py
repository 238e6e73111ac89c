"""What every encoder must keep, whatever its family."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.checkpoints import load_weights, state_of
from hilum.core.errors import SettingsError
from hilum.core.precision import guard_bf16_conv3d
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoder import PyramidDecoder

TINY: dict[str, dict[str, Any]] = {
    "resenc": {"features": [4, 8, 8], "blocks": [1, 1, 1], "strides": [1, 2, [1, 2, 2]]},
    "segresnet": {"filters": 8, "blocks": [1, 1, 1]},
    "mednext": {"width": 4, "blocks": [1, 1, 1], "expansion": [2, 2, 2], "strides": [2, [1, 2, 2]]},
    "resnet3d": {"fine": 4},
    "timm_cnn": {"model": "resnet10t"},
    "primus": {"width": 24, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32},
    "vit": {"width": 12, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32},
    "videomae": {"width": 12, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32},
    "swin": {"width": 4, "blocks": [2, 1], "heads": [2, 2], "window": 4, "fine": 4},
    "vit_slices": {"width": 12, "depth": 1, "heads": 2, "features": [4, 4, 6, 8]},
}
SIDES = (32, 64, 32)

pytestmark = pytest.mark.parametrize("name", ENCODERS)


def make(name: str, channels: int = 2) -> Encoder:
    torch.manual_seed(0)
    return build(ENCODERS, {"name": name, **TINY[name]}, in_channels=channels)


def test_the_pyramid_is_as_announced_at_unequal_sides(name: str) -> None:
    encoder = make(name)
    maps = encoder(torch.randn(2, 2, *SIDES))
    assert len(maps) == len(encoder.channels) == len(encoder.strides)
    for x, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        assert x.shape == (2, channels, *(n // s for n, s in zip(SIDES, stride, strict=True)))


def test_the_decoder_brings_it_back_to_full_resolution(name: str) -> None:
    encoder = make(name)
    decoder = PyramidDecoder(encoder.channels, encoder.strides, 3)
    assert decoder(encoder(torch.randn(2, 2, *SIDES)))[0].shape == (2, 3, *SIDES)


def test_gradients_are_finite_under_bfloat16(name: str) -> None:
    encoder = guard_bf16_conv3d(make(name))
    with torch.autocast("cpu", torch.bfloat16):
        maps = encoder(torch.randn(2, 2, *SIDES))
    sum(x.float().square().mean() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_every_parameter_gets_a_gradient(name: str) -> None:
    """A parameter that lies idle stops distributed training."""
    encoder = make(name)
    for key, parameter in encoder.named_parameters():
        if key.endswith("weight"):  # away from norms that start at zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    maps = encoder(torch.randn(2, 2, *SIDES))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        if key.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, key


def test_a_saved_state_gives_the_same_features(name: str) -> None:
    encoder, again = make(name).eval(), make(name)
    for parameter in again.parameters():
        parameter.data.normal_()
    again.load_state_dict(encoder.state_dict(), strict=True)
    image = torch.randn(1, 2, *SIDES)
    for got, want in zip(again.eval()(image), encoder(image), strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_the_stem_sees_the_modalities(name: str) -> None:
    encoder = make(name, channels=3)
    state = encoder.state_dict()
    assert encoder.stem
    for key in encoder.stem:
        assert state[key].shape[1] == 3


def test_a_slice_of_the_stem_is_the_network_with_the_other_channel_at_zero(name: str) -> None:
    pretrained, alone = make(name).eval(), make(name, channels=1).eval()
    report = load_weights(
        alone,
        state_of(pretrained),
        source=("ct", "pet"),
        target=("pet",),
        stem=alone.stem,
        threshold=1.0,
    )
    assert report.covered == 1
    pet = torch.randn(2, 1, *SIDES)
    expected = pretrained(torch.cat([torch.zeros_like(pet), pet], 1))
    for got, want in zip(alone(pet), expected, strict=True):
        assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_its_settings_are_plain_json(name: str) -> None:
    json.dumps(TINY[name])
    with pytest.raises(SettingsError, match=f"'{name}' has no 'nonsense'"):
        build(ENCODERS, {"name": name, "nonsense": 1}, in_channels=2)


def test_sides_that_do_not_fit_are_answered_with_those_that_do(name: str) -> None:
    encoder = make(name)
    last = encoder.strides[-1]
    wrong = tuple(3 * s + 1 for s in last)
    right = tuple(-(-w // s) * s for w, s in zip(wrong, last, strict=True))
    with pytest.raises(SettingsError, match="patch sides must be divisible") as caught:
        encoder.check_sides((wrong[0], wrong[1], wrong[2]))
    assert str(right) in str(caught.value)
    encoder.check_sides((right[0], right[1], right[2]))
