"""Read nnU-Net's encoders, residual or plain, from names: widths, blocks, what hilum calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from hilum.core.errors import CheckpointError

from .reading import ForeignFile
from .source import renamed

FIRST = "stem.convs.0.conv.weight"
SMALL: dict[str, Any] = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
"""Our encoder in the examples of the sources that keep such a network."""

BUILT: dict[str, Any] = {
    "norm_op": "InstanceNorm3d",
    "nonlin": "LeakyReLU",
    "eps": 1e-5,
    "negative_slope": 0.01,
    "nonlin_first": False,
}
"""What hilum builds the blocks with, where no tensor would show another choice."""


def is_residual(tensors: Mapping[str, Tensor], prefix: str = "encoder.") -> bool:
    """Return whether the names are those of a residual encoder."""
    return f"{prefix}{FIRST}" in tensors and any(
        re.fullmatch(re.escape(prefix) + r"stages\.\d+\.blocks\.0\.conv1\.conv\.weight", name)
        for name in tensors
    )


def is_plain(tensors: Mapping[str, Tensor], prefix: str = "encoder.") -> bool:
    """Return whether the names are those of nnU-Net's plain (not residual) encoder."""
    return f"{prefix}stages.0.0.convs.0.conv.weight" in tensors


def encoder_weights(
    tensors: Mapping[str, Tensor], prefix: str = "encoder."
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the encoder's tensors under our names, and the names left over.

    Decoders keep the encoder a second time (`decoder.encoder.`): that is no leftover.
    """
    here = re.escape(prefix)
    found, unused = renamed(tensors, [(here + r"((?:stem|stages)\..*)", r"inner.\1")])
    again = ("decoder.encoder.", f"{prefix}decoder.encoder.")
    return found, [name for name in unused if not name.startswith(again)]


def residual_architecture(
    foreign: ForeignFile, weights: Mapping[str, Tensor], strides: Sequence[Any] | None
) -> dict[str, Any]:
    """Return our `resenc` with the stages of the file.

    Args:
        foreign: For messages.
        weights: Under our names.
        strides: Of each stage, where the file says so: no tensor tells them. 1, then 2, without.
    """
    blocks: dict[int, int] = {}
    for name in weights:
        if place := re.match(r"inner\.stages\.(\d+)\.blocks\.(\d+)\.", name):
            stage, block = int(place[1]), int(place[2])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    if sorted(blocks) != list(range(len(blocks))) or not blocks:
        raise CheckpointError(
            "the file must hold every stage of the encoder",
            file=foreign.path,
            found=f"stages {sorted(blocks)}",
            remedy="give the whole checkpoint, not a part of it",
        )
    if any(".blocks.0.conv3." in name for name in weights):
        raise CheckpointError(
            "residual blocks must have two convolutions",
            file=foreign.path,
            found="bottleneck blocks",
            remedy="import a network of basic blocks",
        )
    features = [
        int(weights[f"inner.stages.{stage}.blocks.0.conv1.conv.weight"].shape[0])
        for stage in sorted(blocks)
    ]
    steps = [1] + [2] * (len(blocks) - 1) if strides is None else [_plain(s) for s in strides]
    return {
        "name": "resenc",
        "features": features,
        "blocks": [blocks[stage] for stage in sorted(blocks)],
        "strides": steps,
    }


def plain_architecture(
    foreign: ForeignFile, weights: Mapping[str, Tensor], strides: Sequence[Any] | None
) -> dict[str, Any]:
    """Return our `plainconv` with the stages of the file; see `residual_architecture`."""
    found: dict[int, int] = {}
    for name in weights:
        if place := re.match(r"inner\.stages\.(\d+)\.0\.convs\.(\d+)\.", name):
            stage, number = int(place[1]), int(place[2])
            found[stage] = max(found.get(stage, 0), number + 1)
    if sorted(found) != list(range(len(found))) or not found:
        raise CheckpointError(
            "the file must hold every stage of the encoder",
            file=foreign.path,
            found=f"stages {sorted(found)}",
            remedy="give the whole checkpoint, not a part of it",
        )
    features = [
        int(weights[f"inner.stages.{stage}.0.convs.0.conv.weight"].shape[0])
        for stage in sorted(found)
    ]
    steps = [1] + [2] * (len(found) - 1) if strides is None else [_plain(s) for s in strides]
    return {
        "name": "plainconv",
        "features": features,
        "convolutions": [found[stage] for stage in sorted(found)],
        "strides": steps,
    }


def architecture_of(
    foreign: ForeignFile, weights: Mapping[str, Tensor], strides: Sequence[Any] | None
) -> dict[str, Any]:
    """Return our encoder with the stages of the file, residual or plain.

    Raises:
        CheckpointError: If a stage is missing, or the network is of another kind.
    """
    if any(tensor.ndim == 4 for tensor in weights.values()):
        raise CheckpointError(
            "the network must be 3D",
            file=foreign.path,
            found="kernels of a 2D configuration",
            remedy="import 3d_fullres",
        )
    plain = any(name.startswith("inner.stages.0.0.convs.") for name in weights)
    return (plain_architecture if plain else residual_architecture)(foreign, weights, strides)


def check_blocks(foreign: ForeignFile, layers: Mapping[str, Any]) -> None:
    """Refuse a network whose plans say that its blocks compute something else than ours.

    Args:
        foreign: For messages.
        layers: `arch_kwargs` of the plans; what they leave out is as usual.

    Raises:
        CheckpointError: If so.
    """
    within = [layers.get(key) or {} for key in ("norm_op_kwargs", "nonlin_kwargs")]
    said = {**within[0], **within[1], **layers}
    for key, ours in BUILT.items():
        found = said.get(key, ours)
        found = found.rpartition(".")[2] if isinstance(found, str) else found
        if found != ours:
            raise CheckpointError(
                f"{key} of nnU-Net's blocks must be {ours}",
                file=foreign.path,
                found=str(found),
                remedy="import a network of nnU-Net's own plans",
            )


def _plain(stride: Any) -> Any:
    return [int(side) for side in stride] if isinstance(stride, (list, tuple)) else int(stride)
