"""Low-rank adapters while a segmenter is fine-tuned: few parameters train, and saving merges."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from hilum.core.errors import SettingsError
from hilum.encoders.adapters import adapt, adapted, merge, takes_adapter

from .layer_groups import called_modules


def add_adapters(
    module: nn.Module, inputs: Sequence[tuple[nn.Module, torch.Tensor]], rank: int, alpha: float
) -> list[str]:
    """Put a low-rank correction next to linear and convolution layers, in place; the rest freezes.

    Grouped convolutions (their correction cannot be merged) and layers whose weights are read
    without calling them (their correction would never be seen) get none.

    Args:
        module: Holds the networks to adapt.
        inputs: Every network inside `module`, and an image that it accepts.
        rank: Rank of each correction.
        alpha: Strength of the correction, in units of the rank.

    Returns:
        Names of the layers that got one.

    Raises:
        SettingsError: If no layer fits.
    """
    called = {id(part) for network, image in inputs for part in called_modules(network, image)}
    found = [
        (name, part)
        for name, part in module.named_modules()
        if id(part) in called and takes_adapter(part)
    ]
    if not found:
        raise SettingsError(
            "low-rank adapters need linear or convolution layers",
            found=", ".join(sorted({type(network).__name__ for network, _ in inputs})),
            remedy="use another transfer.method",
        )
    module.requires_grad_(False)
    for _, part in found:
        adapt(part, rank, alpha, passing=True)
    return [name for name, _ in found]


def has_adapters(module: nn.Module) -> bool:
    """Tell whether some layer holds an adapter that saving must merge."""
    return bool(adapted(module, passing=True))


def merged(module: nn.Module) -> nn.Module:
    """Return a copy in which those corrections are added to their weights, with plain layers."""
    plain = copy.deepcopy(module)
    for layer in adapted(plain, passing=True):
        merge(layer)
    return plain
