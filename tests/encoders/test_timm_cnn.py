"""An inflated network gives, on volumes that do not change along the depth, its 2D features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.grn import GlobalResponseNorm
from timm.models.convnext import ConvNeXtBlock
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.encoders.timm_cnn import MODELS, TimmCnnEncoder


def pretrained(model: str, folder: Path) -> tuple[torch.nn.Module, str]:
    """Return a 2D network as after training, and its weights on disk.

    timm starts the last norm of every residual branch at zero: untouched, such a network would hide
    whatever goes wrong in its branches.
    """
    torch.manual_seed(0)
    whole = timm.create_model(model, pretrained=False, in_chans=3).eval()
    for part in whole.modules():
        if isinstance(part, (ConvNeXtBlock, GlobalResponseNorm)):
            for parameter in part.parameters(recurse=False):
                torch.nn.init.uniform_(parameter, 0.3, 0.6)
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.0)
            torch.nn.init.normal_(part.bias, 0, 0.1)
            part.running_mean = torch.randn(part.num_features) / 10
            part.running_var = torch.rand(part.num_features) + 0.5
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, folder / "w.safetensors")
    return whole, str(folder / "w.safetensors")


QUICK = (
    "resnet10t",
    "seresnext26d_32x4d",
    "regnety_002",
    "convnextv2_atto",
    "mobilenetv3_small_100",
)


def place(model: str) -> str:
    """Return where to build a network whose numbers do not matter; RegNets are read off tensors."""
    return "cpu" if model.startswith("regnet") else "meta"


SLOW = [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MODELS]


@pytest.mark.parametrize("model", SLOW)
def test_inflation_is_exact_on_constant_depth(model: str, tmp_path: Path) -> None:
    """In every slice of every level, branches and squeeze-and-excitation included."""
    whole, file = pretrained(model, tmp_path)
    with torch.device(place(model)):  # its own start would take as long as what is tested
        flat = timm.create_model(model, pretrained=False, features_only=True, in_chans=3).eval()
    state = whole.state_dict()
    flat.load_state_dict(
        {k: state[k if k in state else k.replace("_", ".", 1)] for k in flat.state_dict()},
        assign=True,
    )
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        expected = flat(image)
    # Both ways go through the same code for every network: of the large ones each takes one.
    both = ("mean", "centre")
    for kernels in both if model in QUICK else (both[MODELS.index(model) % 2],):
        encoder = TimmCnnEncoder(in_channels=3, model=model, kernels=kernels, weights=file).eval()
        with torch.no_grad():
            found = encoder(image.unsqueeze(2).repeat(1, 1, 32, 1, 1))
        for level, (volume, plane) in enumerate(zip(found, expected, strict=True)):
            error = (volume - plane.unsqueeze(2)).abs().amax((0, 1, 3, 4)) / plane.abs().max()
            assert error.max() < 1e-5, f"{kernels}, level {level}, slice {int(error.argmax())}"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_pretrained_stem_answers_a_gray_image_as_the_colour_one(
    channels: int, tmp_path: Path
) -> None:
    _, file = pretrained("resnet10t", tmp_path)
    image = torch.randn(1, 1, 32, 32, 32)
    colour, own = (
        TimmCnnEncoder(in_channels=count, model="resnet10t", weights=file).get_submodule(
            "inner.conv1.0"
        )
        for count in (3, channels)
    )
    assert isinstance(colour, torch.nn.Conv3d)
    assert isinstance(own, torch.nn.Conv3d)
    assert own.weight.shape[1] == channels
    if channels == 1:  # timm sums one channel's kernel, and tiles and scales more than one's
        assert_close(own(image), colour(image.repeat(1, 3, 1, 1, 1)), atol=1e-5, rtol=1e-5)
    else:
        assert_close(own.weight, colour.weight[:, :2] * 1.5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    _, file = pretrained("resnet10t", tmp_path)
    with pytest.raises(CheckpointError, match="must be those of timm's resnet18"):
        TimmCnnEncoder(in_channels=2, model="resnet18", weights=file)
    with pytest.raises(CheckpointError, match="must be those of timm's resnet50"):
        TimmCnnEncoder(in_channels=2, model="resnet50", weights=file)


def test_a_network_that_cannot_be_inflated_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="'resnet19' cannot be inflated, did you mean 'resnet18'"
    ):
        TimmCnnEncoder(in_channels=2, model="resnet19")


def test_centred_kernels_do_not_mix_slices_at_first(tmp_path: Path) -> None:
    """Each slice of a level is the 2D network's answer to one slice of the volume."""
    whole, file = pretrained("resnet10t", tmp_path)
    encoder = TimmCnnEncoder(
        in_channels=3, model="resnet10t", kernels="centre", weights=file
    ).eval()
    volume = torch.randn(1, 3, 32, 32, 32)
    with torch.no_grad():
        found = encoder(volume)[0]
        features = whole.get_submodule("conv1")(volume[:, :, 4])
        expected = whole.get_submodule("act1")(whole.get_submodule("bn1")(features))
    assert_close(found[:, :, 2], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_of_every_network_learns(model: str) -> None:
    """Without numbers: whether a gradient comes to a parameter does not depend on them."""
    with torch.device(place(model)):
        encoder = TimmCnnEncoder(in_channels=2, model=model)
        image = torch.randn(2, 2, 32, 32, 64)
    torch.stack([x.square().sum() for x in encoder(image)]).sum().backward()
    assert [k for k, p in encoder.named_parameters() if p.grad is None] == []


def test_an_unknown_inflation_is_refused() -> None:
    with pytest.raises(SettingsError, match="kernels must be mean or centre, found 'center'"):
        TimmCnnEncoder(in_channels=2, kernels="center")
