"""Let an encoder itself read the 2D weights of its library, and take what it made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from hilum.core.checkpoints import state_of
from hilum.core.errors import CheckpointError
from hilum.core.registry import build
from hilum.encoders import ENCODERS

from .reading import ForeignFile
from .source import Recipe

HEADS = (
    "fc.", "head.", "classifier.", "last_linear.", "fc_norm.", "cls_token", "reg_token", "pooler.",
)  # fmt: skip
"""What only classification wants."""


def through(
    foreign: ForeignFile,
    spec: Mapping[str, Any],
    fresh: tuple[str, ...],
    how: Callable[[str, Tensor], str],
) -> Recipe:
    """Build an encoder for one gray channel from 2D weights, and return its tensors.

    The encoder refuses weights that do not fill its 2D network, so nothing is missing.

    Args:
        foreign: The file.
        spec: Name and parameters of the encoder, which has a parameter `weights`.
        fresh: Beginnings or parts of names that the 2D network has no counterpart of.
        how: Says how a tensor was changed, from its name and itself; empty if it was not.

    Raises:
        CheckpointError: If the weights are of another network.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The file may be a pickle of PyTorch: encoders read safetensors alone.
        file = Path(folder) / "model.safetensors"
        save_file({k: t.contiguous().clone() for k, t in foreign.tensors.items()}, file)
        try:
            encoder = build(ENCODERS, {**spec, "weights": str(file)}, in_channels=1)
        except CheckpointError as error:
            raise CheckpointError(
                error.rule, file=foreign.path, found=error.found, remedy=error.remedy
            ) from None
    state = state_of(encoder)
    new = tuple(name for name in state if any(part in name for part in fresh))
    weights = {name: tensor for name, tensor in state.items() if name not in new}
    recipe = Recipe(dict(spec), weights, fresh=new, colours=True)
    for name, tensor in weights.items():
        parts = ["3 colours summed to one gray" if name in encoder.stem else "", how(name, tensor)]
        if told := "; ".join(filter(None, parts)):
            recipe.adapted[name] = told
    recipe.unused = [name for name in foreign.tensors if name.startswith(HEADS)]
    recipe.notes.append("photographs were scaled by ImageNet's mean; hilum gives HU and SUV")
    return recipe
