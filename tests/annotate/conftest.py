"""The tiny cohort, and folders of networks that see its scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ..tiny_cohort import ENCODER, SPACING, config, manifest, store, threshold  # noqa: F401


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    about = validate(
        EncoderConfig,
        {
            "architecture": ENCODER,
            "modalities": ("ct", "pet"),
            "spacing": SPACING,
            "patch": (8, 12, 16),
        },
    )
    torch.manual_seed(0)
    encoder = build(ENCODERS, ENCODER, in_channels=2)
    return save_encoder(tmp_path_factory.mktemp("weights") / "encoder", encoder, about)


@pytest.fixture
def segmenter_folder(config: Callable[..., SegmenterConfig], tmp_path: Path) -> Path:  # noqa: F811
    torch.manual_seed(1)
    return Segmenter(config()).save(tmp_path / "segmenter")


def soft(segmenter: Segmenter) -> Segmenter:
    """Return the segmenter of a threshold, less sure of itself, in larger windows."""
    segmenter.strategy.scale.data.fill_(3.0)
    return segmenter
