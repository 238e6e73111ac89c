"""What Models Genesis does to an image: bend its tones, shuffle its pixels, paint over parts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hilum.core.geometry import IntTriple


def unit_scale(encoded: Tensor, low: float, high: float) -> Tensor:
    """Bring a modality from the network's scale to [0, 1]: its window's ends become 0 and 1."""
    return ((encoded - low) / (high - low)).clamp(0, 1)


def bend(x: Tensor, generator: torch.Generator, points: int = 256) -> Tensor:
    """Map the tones of `x`, in [0, 1], by a random Bezier curve through (0, 0) and (1, 1).

    Both inner control points are drawn from the unit square, so the curve may not be monotone in
    its course but its abscissa is sorted, as in the source; half of the time it is turned over, so
    that bright becomes dark.
    """
    a, b = torch.rand(2, 2, generator=generator, device=generator.device)
    t = torch.linspace(0, 1, points, device=x.device)
    weights = torch.stack([3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    xs = (weights * torch.stack([a[0], b[0], torch.ones_like(a[0])])[:, None]).sum(0).sort().values
    ys = (weights * torch.stack([a[1], b[1], torch.ones_like(a[1])])[:, None]).sum(0).sort().values
    turned = torch.rand((), generator=generator, device=generator.device) < 0.5
    ys = torch.where(turned, ys.flip(0), ys)
    after = torch.searchsorted(xs, x.contiguous()).clamp(1, points - 1)
    left, right = xs[after - 1], xs[after]
    share = ((x - left) / (right - left).clamp(min=1e-6)).clamp(0, 1)
    return ys[after - 1] + share * (ys[after] - ys[after - 1])


def shuffle(
    x: Tensor,
    block: IntTriple,
    share: float,
    generator: torch.Generator,
    shapes: np.random.Generator,
) -> Tensor:
    """Shuffle the voxels inside some blocks of `[D, H, W]`.

    The blocks tile the volume from a random place on; the source draws 10,000 overlapping ones of
    random sides.

    Args:
        x: One channel of one sample.
        block: Sides of a block.
        share: Of the blocks.
        generator: On the device of `x`.
        shapes: Draws where the blocks begin.
    """
    device = generator.device
    start = [int(shapes.integers(b)) for b in block]
    counts = [(n - s) // b for n, s, b in zip(x.shape, start, block, strict=True)]
    if min(counts) < 1:
        return x
    d, h, w = (slice(s, s + c * b) for s, c, b in zip(start, counts, block, strict=True))
    i, j, k = counts
    p, q, r = block
    cut = x[d, h, w].reshape(i, p, j, q, k, r).permute(0, 2, 4, 1, 3, 5).reshape(i * j * k, -1)
    order = torch.rand(cut.shape, generator=generator, device=device).argsort(1)
    chosen = torch.rand(len(cut), 1, generator=generator, device=device) < share
    mixed = torch.where(chosen, cut.gather(1, order), cut)
    result = x.clone()
    result[d, h, w] = (
        mixed.reshape(i, j, k, p, q, r).permute(0, 3, 1, 4, 2, 5).reshape(i * p, j * q, k * r)
    )
    return result


def boxes(
    sides: IntTriple, count: int, low: float, high: float, generator: torch.Generator
) -> Tensor:
    """Return booleans `[D, H, W]`, true inside `count` random boxes.

    Args:
        sides: Of the volume.
        count: Of the boxes.
        low: Shortest side of a box as a fraction of the volume's.
        high: Longest.
        generator: Of every draw.
    """
    device = generator.device
    drawn = torch.rand(count, 2, 3, generator=generator, device=device)
    inside = torch.ones((), dtype=torch.bool, device=device)
    for axis, side in enumerate(sides):
        size, place = drawn[:, 0, axis, None], drawn[:, 1, axis, None]
        length = ((low + (high - low) * size) * side).round().clamp(min=1)
        start = (place * (side - length + 1)).floor()
        index = torch.arange(side, device=device)
        along = (index >= start) & (index < start + length)
        inside = inside & along.view([count] + [side if axis == n else 1 for n in range(3)])
    return inside.any(0)
