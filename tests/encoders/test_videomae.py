"""The tubelet encoder is transformers' VideoMAE on its trained size, and takes other sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import VideoMAEConfig, VideoMAEModel

from hilum.core.errors import CheckpointError
from hilum.encoders.videomae import VideomaeEncoder

SMALL: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "features": [4, 4, 8],
                         "token": [2, 16, 16], "trained": [4, 32, 32]}  # fmt: skip


def source(folder: Path, channels: int = 3) -> VideoMAEModel:
    """Write a small VideoMAE as HuggingFace does."""
    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=32, num_frames=4, num_channels=channels, hidden_size=12, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=48, use_mean_pooling=False,
    )  # fmt: skip
    net = VideoMAEModel(config)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    net.save_pretrained(folder)
    return net.eval()


def test_local_weights_give_the_tokens_of_the_library(tmp_path: Path) -> None:
    net = source(tmp_path)
    encoder = VideomaeEncoder(in_channels=3, **SMALL, weights=str(tmp_path)).eval()
    image = torch.randn(2, 3, 4, 32, 32)
    expected = net(image.transpose(1, 2)).last_hidden_state
    got = encoder(image)[-1]
    assert got.shape == (2, 12, 2, 2, 2)
    assert_close(got.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_a_gray_image_gives_the_tokens_of_the_colour_one(tmp_path: Path) -> None:
    net = source(tmp_path)
    encoder = VideomaeEncoder(in_channels=2, **SMALL, weights=str(tmp_path)).eval()
    gray = torch.randn(1, 1, 4, 32, 32)
    expected = net(gray.expand(-1, 3, -1, -1, -1).transpose(1, 2)).last_hidden_state
    got = encoder(gray.expand(-1, 2, -1, -1, -1))[-1]
    assert_close(got.flatten(2).transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_other_sizes_work_where_the_library_refuses_them(tmp_path: Path) -> None:
    net = source(tmp_path)
    image = torch.randn(1, 3, 6, 48, 32)
    with pytest.raises(ValueError, match="doesn't match model"):
        net(image.transpose(1, 2))
    encoder = VideomaeEncoder(in_channels=3, **SMALL, weights=str(tmp_path))
    assert encoder(image)[-1].shape == (1, 12, 3, 3, 2)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    source(tmp_path)
    with pytest.raises(CheckpointError, match="a VideoMAE of this width, depth and token"):
        VideomaeEncoder(in_channels=3, **{**SMALL, "width": 24}, weights=str(tmp_path))
