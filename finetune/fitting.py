"""How much memory a training step takes, and the largest patch and batch that fit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from hilum.core.geometry import IntTriple, Triple
from hilum.encoders.strides import cumulative
from hilum.fusion.base import FusionStrategy
from hilum.fusion.cost import memory

from .fingerprint import Fingerprint

GIB = 2**30
SCRATCH = 1.2
"""What a step takes over what its tensors do: kernels' own memory, and what the allocator keeps.

Measured on a processor: 1.1 to 1.2 for batches of two and more, 0.9 in bfloat16; on no GPU.
"""
BATCHES = (2, 8)
"""nnU-Net's smallest batch, and where larger ones stop to help with few labels."""
Make = Callable[[IntTriple], FusionStrategy]
"""Builds the network for a patch."""


def needed(strategy: FusionStrategy, patch: IntTriple, batch: int) -> int:
    """Return the bytes of a training step in float32: tensors, AdamW's moments, and scratch."""
    parameters = sum(p.numel() for p in strategy.parameters())
    return int(SCRATCH * (memory(strategy, patch, batch) + 8 * parameters))


def largest(
    found: Fingerprint,
    steps: Sequence[IntTriple],
    make: Make,
    budget: float,
    patch: IntTriple | None = None,
    batch: int | None = None,
) -> tuple[IntTriple, int] | None:
    """Return the largest patch for the smallest batch, then the largest batch.

    Each trial traces a step, which takes up to a second: sizes are halved between those that fit
    and those that do not.

    Args:
        found: Of the cohort.
        steps: Stride of each stage.
        make: Builds the network for a patch.
        budget: Bytes that a step may take.
        patch: Sides that stay as they are.
        batch: Patches that stay as many.

    Returns:
        Sides and patches; nothing if not even the smallest fit.
    """
    least = batch or BATCHES[0]

    def fits(sides: IntTriple, patches: int) -> bool:
        return needed(make(sides), sides, patches) <= budget

    sizes = [patch] if patch else _patches(found, steps)
    number = bisect_left(sizes, True, key=lambda sides: fits(sides, least))
    if number == len(sizes):
        return None
    sides, more = sizes[number], range(least + 1, 1 + (least if batch else BATCHES[1]))
    return sides, least + bisect_left(more, True, key=lambda n: not fits(sides, n))


def _patches(found: Fingerprint, steps: Sequence[IntTriple]) -> list[IntTriple]:
    """Return all sides that come into question, the largest first."""
    sides: IntTriple | None = whole_patch(found, steps)
    sizes = []
    while sides is not None:
        sizes.append(sides)
        sides = smaller_patch(sides, cumulative(steps)[-1], found.spacing)
    return sizes


def smaller_patch(patch: IntTriple, last: IntTriple, spacing: Triple) -> IntTriple | None:
    """Shrink the side that is longest in mm by one step of the strides, if one can shrink."""
    for axis in sorted(range(3), key=lambda i: -patch[i] * spacing[i]):
        if patch[axis] - last[axis] >= 2 * last[axis]:
            sides = list(patch)
            sides[axis] -= last[axis]
            return sides[0], sides[1], sides[2]
    return None


def whole_patch(found: Fingerprint, steps: Sequence[IntTriple]) -> IntTriple:
    """Return the sides of the median case, at most 192 voxels, cut to the strides."""
    last = cumulative(steps)[-1]
    d, h, w = (max(min(n, 192) // s, 2) * s for n, s in zip(found.shape, last, strict=True))
    return d, h, w
