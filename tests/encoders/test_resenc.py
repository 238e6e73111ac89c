"""The residual encoder is nnU-Net's, key by key and bit by bit."""

from __future__ import annotations

import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn
from torch.testing import assert_close

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
