"""A slice-wise transformer sees slices one by one until it has learned to join them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import Dinov2Backbone, Dinov2Config

from hilum.core.errors import CheckpointError, SettingsError
from hilum.encoders.vit_slices import VitSlicesEncoder


def test_a_new_encoder_equals_its_slices() -> None:
    torch.manual_seed(0)
    encoder = VitSlicesEncoder(in_channels=2, width=12, depth=1, heads=2).eval()
    image = torch.randn(1, 2, 16, 32, 48)
    with torch.no_grad():
        found = encoder(image)[1]
        slices = F.interpolate(image[0].transpose(0, 1), (28, 42), mode="bilinear")
        tokens = encoder.vit(slices).feature_maps[-1]
        plane = F.interpolate(encoder.levels[0](tokens), (8, 12), mode="bilinear")
    by_hand = plane.unflatten(0, (4, 4)).mean(1)
    assert_close(found[0].transpose(0, 1), by_hand, atol=1e-5, rtol=1e-5)


SMALL: dict[str, Any] = {"width": 12, "depth": 1, "heads": 2, "side": 56}


def dinov2(folder: Path, **changes: Any) -> Dinov2Backbone:
    """Write a small DINOv2 as HuggingFace does."""
    settings = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    source = Dinov2Backbone(Dinov2Config(**{**settings, "image_size": 56, **changes}))
    source.save_pretrained(folder)
    return source


def test_local_weights_load_and_the_stem_is_shared_out(tmp_path: Path) -> None:
    source = dinov2(tmp_path)
    encoder = VitSlicesEncoder(in_channels=2, **SMALL, weights=str(tmp_path))
    kernel = source.embeddings.patch_embeddings.projection.weight
    assert_close(encoder.vit.embeddings.patch_embeddings.projection.weight[:, 0], kernel.sum(1) / 2)
    ours, theirs = encoder.vit.state_dict(), source.state_dict()
    assert_close(ours["embeddings.position_embeddings"], theirs["embeddings.position_embeddings"])


def test_its_parameters_rebuild_it_where_the_weights_are_not(tmp_path: Path) -> None:
    dinov2(tmp_path)
    encoder = VitSlicesEncoder(in_channels=2, **SMALL, weights=str(tmp_path)).eval()
    again = VitSlicesEncoder(in_channels=2, **SMALL).eval()
    again.load_state_dict(encoder.state_dict(), strict=True)
    image = torch.randn(1, 2, 16, 16, 32)
    for got, want in zip(again(image), encoder(image), strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_parameters_that_are_not_those_of_the_weights_are_refused(tmp_path: Path) -> None:
    dinov2(tmp_path)
    with pytest.raises(CheckpointError, match="set width=12, depth=1, heads=2, side=56"):
        VitSlicesEncoder(in_channels=2, **{**SMALL, "side": 224}, weights=str(tmp_path))


def test_another_kind_of_dinov2_is_refused(tmp_path: Path) -> None:
    dinov2(tmp_path, use_swiglu_ffn=True)
    with pytest.raises(CheckpointError, match="use_swiglu_ffn False, found True"):
        VitSlicesEncoder(in_channels=2, **SMALL, weights=str(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must hold config\.json and model\.safetensors"):
        VitSlicesEncoder(in_channels=2, weights=str(tmp_path))


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"heads": 5}, "heads must divide width"), ({"features": [4, 8]}, "those of the 4 levels")],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        VitSlicesEncoder(in_channels=2, **{**SMALL, **bad})
