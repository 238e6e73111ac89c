"""An inflated network gives, on volumes that do not change along the depth, its 2D features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.encoders.timm_cnn import MODELS, TimmCnnEncoder


def pretrained(model: str, folder: Path) -> tuple[torch.nn.Module, str]:
    """Return a 2D network with settled norm statistics, and its weights on disk."""
    torch.manual_seed(0)
    whole = timm.create_model(model, pretrained=False, in_chans=3)
    with torch.no_grad():
        for _ in range(3):
            whole(torch.randn(4, 3, 64, 64))
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, folder / "w.safetensors")
    return whole.eval(), str(folder / "w.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_inflation_is_exact_on_constant_depth(model: str, tmp_path: Path) -> None:
    whole, file = pretrained(model, tmp_path)
    flat = timm.create_model(model, pretrained=False, features_only=True, in_chans=3).eval()
    encoder = TimmCnnEncoder(in_channels=3, model=model, weights=file).eval()
    flat.load_state_dict(
        {k: whole.state_dict()[k.replace("_", ".", 1) if k not in whole.state_dict() else k]
         for k in flat.state_dict()}
    )  # fmt: skip
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        expected = flat(image)
        # Deep enough that the middle slice is beyond the reach of the padded ends: finest maps.
        found = encoder(image.unsqueeze(2).repeat(1, 1, 96, 1, 1))
    for level in range(2):
        middle = found[level].shape[2] // 2
        assert_close(found[level][:, :, middle], expected[level], atol=1e-5, rtol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    _, file = pretrained("resnet10t", tmp_path)
    with pytest.raises(CheckpointError, match="must be those of timm's resnet18"):
        TimmCnnEncoder(in_channels=2, model="resnet18", weights=file)


def test_a_network_that_cannot_be_inflated_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="'resnet19' cannot be inflated, did you mean 'resnet18'"
    ):
        TimmCnnEncoder(in_channels=2, model="resnet19")
