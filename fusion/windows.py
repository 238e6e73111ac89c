"""Cut a map into windows of tokens, with or without what lies around them, and join them again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from hilum.core.geometry import IntTriple


def window_of(sides: Sequence[int], most: int) -> IntTriple:
    """Return the sides of equal windows with at most `most` voxels.

    The longest even side is halved; if none is even, the longest is divided by its smallest factor.
    """
    window = list(sides)
    while window[0] * window[1] * window[2] > most:
        axis = max(range(3), key=lambda i: (window[i] % 2 == 0, window[i]))
        window[axis] //= next(n for n in range(2, window[axis] + 1) if window[axis] % n == 0)
    return window[0], window[1], window[2]


def split(x: Tensor, window: IntTriple) -> Tensor:
    """Return `[B, C, D, H, W]` as `[B * windows, voxels of a window, C]`."""
    d, h, w = window
    return rearrange(x, "b c (x d) (y h) (z w) -> (b x y z) (d h w) c", d=d, h=h, w=w)


def join(tokens: Tensor, window: IntTriple, shape: Sequence[int]) -> Tensor:
    """Undo `split` for a map of this shape."""
    d, h, w = window
    x, y, z = (side // part for side, part in zip(shape[2:], window, strict=True))
    return rearrange(
        tokens, "(b x y z) (d h w) c -> b c (x d) (y h) (z w)", d=d, h=h, w=w, x=x, y=y, z=z
    )


def around(x: Tensor, window: IntTriple, halo: int) -> tuple[Tensor, Tensor]:
    """Return each window with `halo` voxels around it, and which of them lie in the map.

    An axis that is one window needs no halo and gets none.

    Returns:
        `[B * windows, voxels, C]`, and booleans `[windows, voxels]`.
    """
    margins = [halo if part < side else 0 for part, side in zip(window, x.shape[2:], strict=True)]
    inside = torch.ones((1, 1, *x.shape[2:]), dtype=torch.bool, device=x.device)
    return _blocks(x, window, margins), _blocks(inside, window, margins)[..., 0]


def _blocks(x: Tensor, window: IntTriple, margins: Sequence[int]) -> Tensor:
    d, h, w = margins
    if any(margins):
        x = F.pad(x, (w, w, h, h, d, d))
    for axis, (part, margin) in enumerate(zip(window, margins, strict=True), 2):
        x = x.unfold(axis, part + 2 * margin, part)
    return rearrange(x, "b c x y z d h w -> (b x y z) (d h w) c")
