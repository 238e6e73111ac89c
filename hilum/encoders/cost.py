"""What an encoder costs on this machine: time and peak memory of a training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hilum.core.geometry import IntTriple
from hilum.core.memory import Storages
from hilum.core.registry import build

from . import ENCODERS
from .base import Encoder


class Cost(NamedTuple):
    """What one patch takes, batch 1.

    Attributes:
        build: Seconds to build the encoder with random weights.
        forward: Seconds of a forward pass without gradients.
        step: Seconds of a forward and a backward pass.
        memory: Peak bytes of tensors in a step: parameters, gradients and activations.
    """

    build: float
    forward: float
    step: float
    memory: int


def patch_for(strides: tuple[IntTriple, ...], least: int = 32) -> IntTriple:
    """Return the smallest sides from `least` on that make more than one voxel of every map."""
    d, h, w = (-(-least // stride) * stride for stride in strides[-1])
    return (2 * d if (d, h, w) == strides[-1] else d), h, w


def measure(
    spec: Mapping[str, Any],
    *,
    in_channels: int = 2,
    patch: IntTriple | None = None,
    repeats: int = 3,
) -> Cost:
    """Build an encoder and measure it on the processor, with one thread.

    Args:
        spec: Name and parameters, as in `{"name": "resenc", "size": "tiny"}`.
        in_channels: Channels of the image.
        patch: Sides in voxels; the smallest from 32 on that fit if not given.
        repeats: Times to measure; the fastest counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began = time.perf_counter()
        encoder = build(ENCODERS, spec, in_channels=in_channels)
        built = time.perf_counter() - began
        image = torch.zeros(1, in_channels, *(patch or patch_for(encoder.strides)))
        encoder.eval()  # a batch norm cannot train on one voxel
        with torch.no_grad():
            forward = _fastest(lambda: encoder(image), repeats)
        step = _fastest(lambda: _step(encoder, image), repeats)
        return Cost(built, forward, step, peak_memory(encoder, image))
    finally:
        torch.set_num_threads(threads)


def peak_memory(encoder: Encoder, image: Tensor) -> int:
    """Return the most bytes that tensors hold at once in a forward and a backward pass.

    Counted by every operation's results, not asked of the system, whose answer includes what the
    allocator keeps: it is the same on every machine, but blind to an operation's own scratch.
    """
    encoder.zero_grad(set_to_none=True)
    with Storages(encoder) as storages:
        _step(encoder, image, keep=True)
    encoder.zero_grad(set_to_none=True)
    return storages.peak


def _step(encoder: nn.Module, image: Tensor, keep: bool = False) -> None:
    maps = encoder(image)
    torch.autograd.backward(maps, [torch.ones_like(x) for x in maps])
    if not keep:
        encoder.zero_grad(set_to_none=True)


def _fastest(action: Callable[[], object], repeats: int) -> float:
    action()  # the first call prepares kernels
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)
