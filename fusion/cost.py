"""What a fusion strategy costs: parameters, operations, memory and time of one patch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hilum.core.geometry import IntTriple
from hilum.core.memory import Storages

from .base import FusionStrategy


class Cost(NamedTuple):
    """What one patch takes.

    Attributes:
        parameters: Numbers to learn, each counted once.
        flops: Floating point operations of convolutions, matrix products and attention of a
            forward pass; a multiplication and an addition are two.
        memory: Peak bytes of tensors in a forward and a backward pass in float32: parameters,
            gradients and activations, without an optimiser's state.
    """

    parameters: int
    flops: int
    memory: int


class Seconds(NamedTuple):
    """Time of one patch.

    Attributes:
        forward: Of a forward pass without gradients.
        step: Of a forward and a backward pass.
    """

    forward: float
    step: float


def cost(strategy: FusionStrategy, patch: IntTriple, batch: int = 1) -> Cost:
    """Count with every modality present, on tensors without content: at once for any patch.

    Training takes about three times the operations (forward, and twice that backward). The
    strategy is left as it is.

    Args:
        strategy: On any device.
        patch: Sides in voxels; must fit the strides of the encoders.
        batch: Patches.
    """
    twin = copy.deepcopy(strategy).to("meta").eval()
    volumes, available = _inputs(twin, patch, batch)
    # With gradients: without, torch's counter fails where a parameter is a module's input.
    with FlopCounterMode(display=False) as counter:
        twin(volumes, available)
    count = sum(p.numel() for p in twin.parameters())
    return Cost(count, int(counter.get_total_flops()), _peak(twin, volumes, available))


def memory(strategy: FusionStrategy, patch: IntTriple, batch: int = 1) -> int:
    """Return the memory of `cost` alone, which takes a third less time to find."""
    twin = copy.deepcopy(strategy).to("meta")
    return _peak(twin, *_inputs(twin, patch, batch))


def seconds(strategy: FusionStrategy, patch: IntTriple, repeats: int = 2) -> Seconds:
    """Measure where the strategy lies, batch 1; the fastest of some tries after a first one.

    Its gradients are cleared.
    """
    volumes, available = _inputs(strategy, patch, 1)

    def forward() -> None:
        with torch.no_grad():
            strategy(volumes, available)

    found = [
        _fastest(run, repeats) for run in (forward, lambda: _step(strategy, volumes, available))
    ]
    strategy.zero_grad(set_to_none=True)
    return Seconds(*found)


def _inputs(
    strategy: FusionStrategy, patch: IntTriple, batch: int
) -> tuple[dict[str, Tensor], Tensor]:
    first = next(strategy.parameters())
    volume = torch.zeros((batch, 1, *patch), dtype=first.dtype, device=first.device)
    have = torch.ones((batch, len(strategy.modalities)), dtype=torch.bool, device=first.device)
    return dict.fromkeys(strategy.modalities, volume), have


def _step(strategy: FusionStrategy, volumes: dict[str, Tensor], available: Tensor) -> None:
    logits = strategy(volumes, available)
    torch.autograd.backward(logits, [torch.ones_like(level) for level in logits])


def _peak(twin: FusionStrategy, volumes: dict[str, Tensor], available: Tensor) -> int:
    with Storages(twin.train()) as storages:
        _step(twin, volumes, available)
    return storages.peak


def _fastest(run: Callable[[], None], repeats: int) -> float:
    run()  # the first call prepares kernels
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
