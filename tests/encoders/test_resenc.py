"""The residual encoder is nnU-Net's, key by key and bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.resenc import ResencEncoder


def test_weights_of_an_nnunet_network_load_and_give_its_features() -> None:
    torch.manual_seed(0)
    unet = ResidualEncoderUNet(
        2, 3, [4, 8, 8], nn.Conv3d, 3, [1, 2, 2], [1, 2, 1], 2, [1, 1],
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    ours = ResencEncoder(in_channels=2, features=[4, 8, 8], blocks=[1, 2, 1])
    ours.inner.load_state_dict(unet.encoder.state_dict(), strict=True)
    x = torch.randn(1, 2, 8, 4, 12)
    for got, want in zip(ours(x), unet.encoder(x), strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_strides_may_differ_by_axis() -> None:
    encoder = ResencEncoder(
        in_channels=1, features=[4, 4, 4], strides=[1, [1, 2, 2], 2], blocks=[1] * 3
    )
    assert encoder.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": "smal"}, "unknown size 'smal', did you mean 'small'"),
        ({"features": [4, 8], "blocks": [1]}, "found 2, 1 and 2 entries; give all three"),
        ({"features": [4, 8], "strides": [1, [2, 2]], "blocks": [1, 1]}, "one per axis"),
        ({"features": [], "blocks": []}, "one entry per stage"),
        ({"features": [4, 0], "blocks": [1, 1]}, "must be at least 1"),
        ({"features": [4, 8], "blocks": [1, 1], "strides": [1, 0]}, "must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ResencEncoder(in_channels=1, **bad)


def test_a_patch_of_one_coarsest_voxel_is_refused() -> None:
    encoder = ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1])
    with pytest.raises(SettingsError, match=r"more than one voxel.*use \(4, 2, 2\) or more"):
        encoder.check_sides((2, 2, 2))
    encoder.check_sides((4, 2, 2))


def test_both_names_of_an_aliased_stem_are_announced() -> None:
    """Each convolution of nnU-Net's blocks is registered twice; a strict load needs both."""
    encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
    assert encoder.stem == (
        "inner.stem.convs.0.conv.weight",
        "inner.stem.convs.0.all_modules.0.weight",
    )
    first, second = (encoder.state_dict()[key] for key in encoder.stem)
    assert first.data_ptr() == second.data_ptr()
