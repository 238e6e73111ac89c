"""The U-Net of Models Genesis, built here as its documentation lays it out, gives its features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.core.checkpoints import read_config
from hilum.encoders.networks import read_network
from hilum.exchange.weights_in.importing import import_weights, recognise
from hilum.exchange.weights_in.inspect import look
from hilum.exchange.weights_in.reading import read_foreign


class Norm(nn.BatchNorm3d):
    """Normalises by the batch at hand, in training and afterwards."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class Convolution(nn.Module):
    """A convolution, its norm and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(before, after, kernel_size=3, padding=1)
        self.bn1 = Norm(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)))


class Down(nn.Module):
    """One level."""

    def __init__(self, before: int, first: int, depth: int) -> None:
        super().__init__()
        middle = first * 2**depth
        self.ops = nn.Sequential(Convolution(before, middle), Convolution(middle, 2 * middle))
        self.deepest = depth == 3

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        before_pool = self.ops(x)
        return (before_pool if self.deepest else F.max_pool3d(before_pool, 2)), before_pool


class Unet(nn.Module):
    """The way down, and a first layer of the way up."""

    def __init__(self, first: int = 4) -> None:
        super().__init__()
        self.down_tr64 = Down(1, first, 0)
        self.down_tr128 = Down(2 * first, first, 1)
        self.down_tr256 = Down(4 * first, first, 2)
        self.down_tr512 = Down(8 * first, first, 3)
        self.up_tr256 = nn.ConvTranspose3d(16 * first, 16 * first, 2, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for level in (self.down_tr64, self.down_tr128, self.down_tr256, self.down_tr512):
            x, before_pool = level(x)
            maps.append(before_pool)
        return maps


class Up(nn.Module):
    """A level of the way up: the map of the level below, made larger, before the skipped one."""

    def __init__(self, below: int, outputs: int, first: int, depth: int) -> None:
        super().__init__()
        middle = first * 2 ** (depth + 1)
        self.up_conv = nn.ConvTranspose3d(below, outputs, kernel_size=2, stride=2)
        self.ops = nn.Sequential(
            Convolution(below + outputs // 2, middle), Convolution(middle, middle)
        )

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        return self.ops(torch.cat((self.up_conv(x), skipped), 1))


class Output(nn.Module):
    """The last convolution; its sigmoid is the restored image."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.final_conv = nn.Conv3d(channels, labels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.final_conv(x))


class Whole(Unet):
    """The published network, whole; `first` is 32 there."""

    def __init__(self, labels: int, first: int = 4) -> None:
        super().__init__(first)
        self.up_tr256 = Up(16 * first, 16 * first, first, 2)  # pyright: ignore
        self.up_tr128 = Up(8 * first, 8 * first, first, 1)
        self.up_tr64 = Up(4 * first, 4 * first, first, 0)
        self.out_tr = Output(2 * first, labels)

    def restored(self, x: Tensor) -> Tensor:
        first, second, third, deepest = self(x)
        x = self.up_tr256(deepest, third)
        return self.out_tr(self.up_tr64(self.up_tr128(x, second), first))


@pytest.mark.parametrize(
    ("source", "prefix", "group", "labels", "meaning"),
    [
        ("models_genesis", "module.", "state_dict", 1, "reconstruction ct"),
        ("suprem", "module.backbone.", "net", 3, "unknown channel 0"),
    ],
)
def test_the_whole_network_gives_its_outputs(
    tmp_path: Path, source: str, prefix: str, group: str, labels: int, meaning: str
) -> None:
    torch.manual_seed(0)
    network = Whole(labels)
    file = save(tmp_path / "file.pt", network, prefix, group)
    folder, report = import_weights("auto", file, tmp_path / "n", modalities=["ct"], whole=True)
    assert report.covered == 1
    whole = read_network(folder)
    assert whole.config.encoder.extra["imported"]["source"] == source
    assert str(whole.config.outputs[0]) == meaning
    x = torch.randn(1, 1, 16, 24, 32)
    with torch.no_grad():
        assert_close(whole(x).sigmoid(), network.restored(x), rtol=0, atol=1e-5)
    assert "whole network: import it with --whole" in "\n".join(look(file))


def save(path: Path, network: Unet, prefix: str, group: str) -> Path:
    for norm in network.modules():
        if isinstance(norm, Norm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, group: state, "optimizer_state_dict": {}}, path)
    return path


@pytest.mark.parametrize(
    ("source", "prefix", "group"),
    [("models_genesis", "module.", "state_dict"), ("suprem", "module.backbone.", "net")],
)
def test_features_are_those_of_the_source(
    tmp_path: Path, equals, rebuilt, source: str, prefix: str, group: str
) -> None:
    network = Unet()
    file = save(tmp_path / "file.pt", network, prefix, group)
    assert recognise(read_foreign(file))[0] == source
    folder, report = import_weights("auto", file, tmp_path / "e", modalities=["ct"])
    assert report.covered == 1
    x = torch.randn(1, 1, 16, 24, 32)
    for ours, theirs in zip(rebuilt(folder)(x), network(x), strict=True):
        equals(ours, theirs)
    config = read_config(folder)
    assert config.architecture == {"name": "unet3d", "features": 4}
    assert any("up_tr256" in name for name in report.unexpected)
