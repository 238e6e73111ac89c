"""A segmenter from a network that never saw a label: what it finds are proposals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from hilum.core.checkpoints import load_weights, state_of
from hilum.core.errors import CheckpointError
from hilum.core.settings import validate
from hilum.encoders.networks import NetworkConfig, Output, read_network

from .config import SegmenterConfig
from .segmenter import Segmenter
from .status import STATUS


def segmenter_of_network(folder: str | Path) -> Segmenter:
    """Read a network folder whose outputs are background and classes, pasted in or labelled.

    The network is an early fusion as it is: one encoder for all channels, zeros where a modality is
    absent. Voxels belong to the class of the largest probability (with one class, from 0.5 on) but
    where `hilum calibrate` gave the folder an operating point.

    Raises:
        CheckpointError: If the folder holds something else, or a network that does not segment.
    """
    network = read_network(folder)
    about = network.config.encoder
    names = check_segments(network.config.outputs, folder)
    spec = dict(network.config.decoder)
    config = validate(
        SegmenterConfig,
        {
            "modalities": about.modalities,
            "classes": len(names),
            "names": names[1:],
            "encoder": about.architecture,
            "fusion": {"name": "early"},
            "deep_supervision": spec.pop("deep_supervision", True),
            "decoder": spec,
            "patch": about.patch,
            "spacing": about.spacing,
            "orientation": about.orientation,
            "intensity": about.intensity,
            "preparation": about.extra.get("preparation", {}),
            "operating_point": network.config.operating_point,
            "data_hash": about.data_hash,
            "licence": about.licence,
            "seen": about.seen,
            "extra": {
                "pretrained": about.pretext.get("name", "unknown"),
                **_status(network.config),
            },
        },
    )
    with torch.random.fork_rng(devices=[]):
        segmenter = Segmenter(config)
    (encoder,), (decoder,) = segmenter.encoders.values(), segmenter.decoders.values()
    load_weights(encoder, state_of(network.encoder), threshold=1.0)
    load_weights(decoder, state_of(network.decoder), threshold=1.0)
    return segmenter.eval()


def check_segments(outputs: Sequence[Output], folder: str | Path) -> list[str]:
    """Return the names of the classes, the background first, that a network's outputs stand for.

    Args:
        outputs: What each output channel means.
        folder: Where the network is or will be, for the error.

    Raises:
        CheckpointError: If they are anything else.
    """
    names = [output.name for output in outputs if output.kind in ("class", "synthetic")]
    if len(names) < 2 or len(names) < len(outputs) or names[0] != "background":
        raise CheckpointError(
            "the network must segment: background, then classes",
            file=folder,
            found=", ".join(map(str, outputs)) or "no decoder",
            remedy=f"fine-tune it first: hilum finetune init_from={folder}",
        )
    return names


def _status(config: NetworkConfig) -> dict[str, str]:
    return {"status": STATUS} if any(one.kind == "synthetic" for one in config.outputs) else {}
