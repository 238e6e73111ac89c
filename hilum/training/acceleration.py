"""Faster forms of the same network: channels last, compiled graphs, fused optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.compat import allow_recompiles

from .settings import TrainerSettings

RECOMPILES = 8
"""Forms of a network (sides, batch, training or not) to compile; further ones run eagerly."""

MODES: Mapping[str, dict[str, Any]] = {
    "on": {},
    "graphs": {"mode": "reduce-overhead"},
}
"""Arguments of torch.compile for each setting; `graphs` replays CUDA graphs."""


def accelerate(module: pl.LightningModule, settings: TrainerSettings) -> None:
    """Change how the module's networks compute, not what: names and values of weights stay.

    A module says by a method `networks` which of its parts take the time; without one it is left
    as it is. Values differ in the last digits from those of plain eager computing.

    Args:
        module: Before it goes to its device.
        settings: `channels_last` and `compile`.
    """
    networks: Iterable[nn.Module] = getattr(module, "networks", tuple)()
    for network in networks:
        if _wanted(network, settings):
            _channels_last(network)
        if settings.compile != "off":
            allow_recompiles(RECOMPILES)
            # A size that varies would make kernels for any size; patches are always alike.
            network.compile(dynamic=False, **MODES[settings.compile])


def fused(parameters: Iterable[Tensor]) -> bool:
    """Say whether an optimiser should take its step in one kernel: where all is on a GPU."""
    devices = {parameter.device.type for parameter in parameters}
    return devices == {"cuda"}


def _wanted(network: nn.Module, settings: TrainerSettings) -> bool:
    """Say whether a network gets channels last: as asked, else on a GPU if it is convolutional.

    cuDNN's kernels for tensor cores take maps so, and would turn others at every layer.
    """
    if settings.channels_last is not None:
        return settings.channels_last
    sizes = [(p.ndim == 5, p.numel()) for p in network.parameters()]
    kernels = sum(size for kernel, size in sizes if kernel)
    return torch.cuda.is_available() and 2 * kernels > sum(size for _, size in sizes)


def _channels_last(network: nn.Module) -> None:
    """Store 3D kernels with channels last; cuDNN then keeps maps so, too."""
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
