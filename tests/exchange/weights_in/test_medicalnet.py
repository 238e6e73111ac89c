"""MedicalNet's 3D ResNets become encoders with the features of MONAI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.resnet import ResNetFeatures, resnet10, resnet18, resnet50
from torch import Tensor, nn

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.resnet3d import LAYERS
from hilum.exchange.weights_in.importing import fill, import_weights
from hilum.exchange.weights_in.medicalnet import MedicalnetSource
from hilum.exchange.weights_in.reading import ForeignFile
from hilum.exchange.weights_in.source import Request


def network(layers: int) -> nn.Module:
    """As MONAI builds them for MedicalNet's weights."""
    make = {10: resnet10, 18: resnet18, 50: resnet50}[layers]
    module = make(
        spatial_dims=3, n_input_channels=1, feed_forward=False,
        shortcut_type="A" if layers == 18 else "B", bias_downsample=layers == 18, conv1_t_stride=2,
    ).eval()  # fmt: skip
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            nn.init.uniform_(part.running_mean, -0.1, 0.1)  # pyright: ignore[reportArgumentType]
    return module


def features(module: nn.Module, x: Tensor) -> list[Tensor]:
    maps = [module.act(module.bn1(module.conv1(x)))]  # pyright: ignore[reportCallIssue]
    y = module.maxpool(maps[0])  # pyright: ignore[reportCallIssue]
    for stage in (module.layer1, module.layer2, module.layer3, module.layer4):
        y = stage(y)  # pyright: ignore[reportCallIssue]
        maps.append(y)
    return maps


@pytest.mark.parametrize(
    "layers", [10, *(pytest.param(n, marks=pytest.mark.slow) for n in (18, 50))]
)
def test_a_resnet_gives_its_features(tmp_path: Path, equals, rebuilt, layers: int) -> None:
    source = network(layers)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    state["module.conv_seg.0.weight"] = torch.ones(8, 512, 2, 2, 2)
    torch.save({"state_dict": state}, tmp_path / "resnet.pth")
    folder, report = import_weights(
        "auto", tmp_path / "resnet.pth", tmp_path / "e", modalities=["ct"]
    )
    x = torch.randn(1, 1, 32, 32, 64)
    with torch.no_grad():
        for ours, theirs in zip(rebuilt(folder)(x)[1:], features(source, x), strict=True):
            equals(ours, theirs)
    assert read_config(folder).architecture == {"name": "resnet3d", "layers": layers}
    assert report.covered == 1
    assert report.unexpected == ["conv_seg.0.weight"]


def test_a_depth_that_we_lack_is_named(tmp_path: Path) -> None:
    state = dict(network(10).state_dict())
    state |= {k.replace("layer1.0", "layer1.1"): v for k, v in state.items() if "layer1.0" in k}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"10, 18, 34, 50, .* layers.*\[2, 1, 1, 1\]"):
        import_weights("auto", tmp_path / "odd.pth", tmp_path / "e", modalities=["ct"])


@pytest.mark.parametrize(
    ("layers", "kinds"),
    [
        (18, {"shortcut_type": "B", "bias_downsample": False}),
        (10, {"shortcut_type": "B", "bias_downsample": True}),
    ],
)
def test_shortcuts_with_more_than_medicalnets_are_refused(
    layers: int, kinds: dict[str, Any]
) -> None:
    """MONAI builds both: a convolution where MedicalNet pads zeros, and a bias that it lacks."""
    make = {10: resnet10, 18: resnet18}[layers]
    other = make(spatial_dims=3, n_input_channels=1, feed_forward=False, conv1_t_stride=2, **kinds)
    foreign = ForeignFile(Path("resnet.pth"), "PyTorch (zip format)", dict(other.state_dict()))
    with pytest.raises(CheckpointError, match=r"every tensor.*layer2\.0\.downsample\.0\."):
        fill(foreign, Request(("ct",)))


def test_the_stride_that_no_tensor_tells_is_a_note() -> None:
    with torch.device("meta"):
        tensors = dict(network(10).state_dict())
    foreign = ForeignFile(Path("resnet.pth"), "PyTorch (zip format)", tensors)
    recipe = MedicalnetSource().recipe(foreign, Request(("ct",)))
    assert any("conv1_t_stride=1" in note for note in recipe.notes)


@pytest.mark.parametrize("layers", LAYERS)
def test_every_published_depth_is_told_by_its_blocks(layers: int) -> None:
    """By MONAI's own networks; without memory for their numbers."""
    with torch.device("meta"):
        source = ResNetFeatures(f"resnet{layers}", pretrained=False, in_channels=1)
    tensors = {f"module.{name}": value for name, value in source.state_dict().items()}
    foreign = ForeignFile(Path("resnet.pth"), "PyTorch (zip format)", tensors)
    assert MedicalnetSource().recognise(foreign)
    recipe = MedicalnetSource().recipe(foreign, Request(("ct",)))
    assert recipe.architecture == {"name": "resnet3d", "layers": layers}
    with torch.device("meta"):
        encoder = build(ENCODERS, recipe.architecture, in_channels=1)
    own = {name for name in encoder.state_dict() if name.startswith("inner.")}
    assert own == set(recipe.weights)
