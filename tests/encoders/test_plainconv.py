"""The plain encoder is that of nnU-Net's default U-Net, key by key and bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.plainconv import PlainconvEncoder


def unet(features: list[int], strides: list[Any], convolutions: list[int]) -> PlainConvUNet:
    """As nnU-Net's planner writes it."""
    return PlainConvUNet(
        2, len(features), features, nn.Conv3d, 3, strides, convolutions, 3,
        [2] * (len(features) - 1), conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )  # fmt: skip


def test_weights_of_an_nnunet_network_load_and_give_its_features() -> None:
    torch.manual_seed(0)
    theirs = unet([4, 8, 8], [1, 2, [1, 2, 2]], [2, 1, 2])
    ours = PlainconvEncoder(
        in_channels=2, features=[4, 8, 8], convolutions=[2, 1, 2], strides=[1, 2, [1, 2, 2]]
    )
    ours.inner.load_state_dict(theirs.encoder.state_dict(), strict=True)
    x = torch.randn(1, 2, 8, 8, 12)
    for got, want in zip(ours(x), theirs.encoder(x), strict=True):
        assert_close(got, want, rtol=0, atol=0)
    assert ours.strides == ((1, 1, 1), (2, 2, 2), (2, 4, 4))


def test_base_has_the_names_and_shapes_of_nnunets_default() -> None:
    with torch.device("meta"):
        ours = PlainconvEncoder(in_channels=2, size="base").inner.state_dict()
        theirs = unet(
            [32, 64, 128, 256, 320, 320], [1, 2, 2, 2, 2, 2], [2] * 6
        ).encoder.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_both_names_of_an_aliased_stem_are_announced() -> None:
    encoder = PlainconvEncoder(in_channels=2)
    assert encoder.stem == (
        "inner.stages.0.0.convs.0.conv.weight",
        "inner.stages.0.0.convs.0.all_modules.0.weight",
    )


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(SettingsError, match="features, convolutions and strides must have one"):
        PlainconvEncoder(in_channels=1, features=[4, 8], convolutions=[1])
    with pytest.raises(SettingsError, match="features, convolutions and strides must be at least"):
        PlainconvEncoder(in_channels=1, features=[4, 0], convolutions=[1, 1])
