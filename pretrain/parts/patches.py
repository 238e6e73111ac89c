"""Cut a volume into blocks and put it together again."""

from __future__ import annotations

from torch import Tensor

from hilum.core.geometry import IntTriple


def to_patches(image: Tensor, grid: IntTriple, token: IntTriple) -> Tensor:
    """Cut `[B, M, D, H, W]` into `[B, places, M, values]`, values in the order of a kernel's."""
    (d, h, w), (p, q, r) = grid, token
    cut = image.reshape(*image.shape[:2], d, p, h, q, w, r)
    return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(5).flatten(1, 3)


def from_patches(patches: Tensor, grid: IntTriple, token: IntTriple) -> Tensor:
    """Put `[B, M, places, values]` together to `[B, M, D, H, W]`."""
    (d, h, w), (p, q, r) = grid, token
    cut = patches.unflatten(3, token).unflatten(2, grid)
    return cut.permute(0, 1, 2, 5, 3, 6, 4, 7).reshape(*patches.shape[:2], d * p, h * q, w * r)
