"""One layer of tokens over slices that are alike is timm's 2D transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.encoders.vit import VitEncoder

SMALL: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "features": [4, 4, 8]}


def flat(folder: Path, **settings: Any) -> VisionTransformer:
    """Return a 2D network as after training, and write its weights."""
    torch.manual_seed(0)
    net = VisionTransformer(
        32, 8, 3, 0, "", 12, 2, 2, class_token=False, fc_norm=False, **settings
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    save_file(net.state_dict(), folder / "w.safetensors")
    return net.eval()


def test_weights_of_timm_give_its_features_on_slices_that_are_alike(tmp_path: Path) -> None:
    net = flat(tmp_path)
    encoder = VitEncoder(
        in_channels=3, **SMALL, trained=[8, 32, 32], weights=str(tmp_path / "w.safetensors")
    ).eval()
    gray = torch.randn(1, 1, 32, 32)
    expected = net.forward_features(gray.expand(-1, 3, -1, -1))
    volume = gray.unsqueeze(2).expand(-1, 3, 8, -1, -1)
    assert_close(encoder(volume)[-1].flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_its_parameters_rebuild_it_where_the_weights_are_not(tmp_path: Path) -> None:
    flat(tmp_path, init_values=0.1)
    settings: dict[str, Any] = {**SMALL, "trained": [16, 48, 16], "token": 4, "layer_scale": 0.1}
    encoder = VitEncoder(in_channels=1, **settings, weights=str(tmp_path / "w.safetensors")).eval()
    again = VitEncoder(in_channels=1, **settings).eval()
    again.load_state_dict(encoder.state_dict(), strict=True)
    image = torch.randn(1, 1, 8, 16, 24)
    for got, want in zip(again(image), encoder(image), strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_positions_of_a_class_token_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = VisionTransformer(32, 8, 3, 0, "", 12, 2, 2)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    encoder = VitEncoder(
        in_channels=1, **SMALL, trained=[16, 32, 32], weights=str(tmp_path / "w.safetensors")
    )
    assert net.pos_embed is not None
    layers = encoder.pos_embed.unflatten(1, (2, 16))
    assert_close(layers[:, 0], net.pos_embed[:, 1:])
    assert_close(layers[:, 1], net.pos_embed[:, 1:])


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    flat(tmp_path)
    file = str(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"such as blocks\.2\.norm1\.weight; set width"):
        VitEncoder(in_channels=1, **{**SMALL, "depth": 3}, weights=file)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"size": "bas"}, "did you mean 'base'"), ({"heads": 5}, "heads must divide width, found 5")],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        VitEncoder(in_channels=1, **{**SMALL, **bad})
