"""The ResNets are MONAI's with MedicalNet's names, and their shortcuts pass gradients on."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNetFeatures
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.encoders.resnet3d import Resnet3DEncoder


@pytest.mark.parametrize("layers", [10, 18])
def test_weights_of_monais_network_load_and_give_its_features(layers: int) -> None:
    torch.manual_seed(0)
    net = ResNetFeatures(f"resnet{layers}", pretrained=False, in_channels=1).eval()
    encoder = Resnet3DEncoder(in_channels=1, layers=layers, fine=0).eval()
    encoder.inner.load_state_dict(net.state_dict(), strict=True)
    image = torch.randn(1, 1, 32, 64, 32)
    with torch.no_grad():
        for got, want in zip(encoder(image), net(image), strict=True):
            assert_close(got, want, rtol=0, atol=0)


def test_names_are_those_of_medicalnet() -> None:
    """As in its files for 50 layers, without `module.`."""
    state = Resnet3DEncoder(in_channels=1, layers=50).inner.state_dict()
    assert state["conv1.weight"].shape == (64, 1, 7, 7, 7)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1, 1)
    assert state["layer2.0.downsample.0.weight"].shape == (512, 256, 1, 1, 1)
    assert "layer2.0.downsample.0.bias" not in state


def test_a_shortcut_without_parameters_passes_the_gradient() -> None:
    encoder = Resnet3DEncoder(in_channels=1, layers=18)
    block = encoder.inner.layer2[0]
    for name in ("conv1.weight", "conv2.weight"):
        torch.nn.init.zeros_(block.get_parameter(name))
    x = torch.rand(2, 64, 4, 4, 4, requires_grad=True)
    block(x).sum().backward()
    assert x.grad is not None
    assert x.grad[:, :, ::2, ::2, ::2].abs().min() > 0


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="layers must be 10, 18, 34, 50, 101, 152 or 200, found 26"
    ):
        Resnet3DEncoder(in_channels=1, layers=26)
