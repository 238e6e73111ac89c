"""An encoder out of its folder, ready for anyone's network."""

from __future__ import annotations

from pathlib import Path

from hilum.core.checkpoints import load_weights, read_config
from hilum.core.registry import build
from hilum.core.weights import read_weights

from . import ENCODERS
from .base import Encoder


def read_encoder(folder: str | Path) -> Encoder:
    """Build the encoder of a folder and fill it.

    It takes `[B, M, D, H, W]`, a channel per modality of the folder's `config.json` in that order,
    on the network's scale, and returns a pyramid of features, finest first.

    Raises:
        CheckpointError: If the folder holds no encoder, or weights of another one.
    """
    config = read_config(folder)
    encoder = build(ENCODERS, config.architecture, in_channels=len(config.modalities))
    load_weights(encoder, read_weights(folder), threshold=1.0)
    return encoder.eval()
