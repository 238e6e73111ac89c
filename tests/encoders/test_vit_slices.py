"""A slice-wise transformer sees slices one by one until it has learned to join them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import Dinov2Backbone, Dinov2Config

from hilum.core.errors import CheckpointError
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


def test_local_weights_load_and_the_stem_is_shared_out(tmp_path: Path) -> None:
    config = Dinov2Config(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, patch_size=14)
    source = Dinov2Backbone(config)
    source.save_pretrained(tmp_path)
    encoder = VitSlicesEncoder(in_channels=2, weights=str(tmp_path))
    kernel = source.embeddings.patch_embeddings.projection.weight
    assert_close(encoder.vit.embeddings.patch_embeddings.projection.weight[:, 0], kernel.sum(1) / 2)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must hold config\.json and model\.safetensors"):
        VitSlicesEncoder(in_channels=2, weights=str(tmp_path))
