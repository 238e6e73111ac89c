"""The network folder that a pretraining leaves behind: untrained, but it finds something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hilum.core.checkpoints import EncoderConfig
from hilum.core.settings import validate
from hilum.encoders.networks import (
    Network,
    NetworkConfig,
    Output,
    build_network,
    save_network,
)


def write_network(
    folder: Path, outputs: tuple[Output, ...], decoder: dict[str, Any], **about: Any
) -> Network:
    """Write a network of random weights, and return it; `about` is for its encoder."""
    encoder = validate(EncoderConfig, {"pretext": {"name": "synthetic_nodes"}, **about})
    config = NetworkConfig(encoder=encoder, decoder=decoder, outputs=outputs)  # pyright: ignore[reportCallIssue]
    torch.manual_seed(0)
    network = build_network(config)
    with torch.no_grad():
        for level in network.decoder.head_rows():
            for value in level.values():
                if value.ndim == 1:
                    value[1] += 0.5
    save_network(folder, network.encoder, network.decoder, config)
    return network
