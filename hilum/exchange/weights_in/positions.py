"""Bring tensors to another grid: position embeddings, and kernels of other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_embedding(
    embedding: Tensor, old: Sequence[int], new: Sequence[int], prefix: int = 0
) -> tuple[Tensor, str]:
    """Interpolate position embeddings `[1, prefix + tokens, C]` from a token grid to another.

    Trilinear in 3D, bicubic in 2D, as the tools do that wrote them; class and register tokens, the
    first `prefix`, have no place in the grid and stay.

    Raises:
        ValueError: If the tokens do not fill the old grid.
    """
    if embedding.shape[1] != prefix + math.prod(old):
        raise ValueError(f"{embedding.shape[1]} positions are not {prefix} and {tuple(old)}")
    if tuple(old) == tuple(new):
        return embedding, ""
    first, rest = embedding[:, :prefix], embedding[:, prefix:]
    volume = rest.float().unflatten(1, tuple(old)).movedim(-1, 1)
    mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[len(old)]
    volume = F.interpolate(volume, tuple(new), mode=mode, align_corners=False)
    rest = volume.flatten(2).transpose(1, 2).to(embedding.dtype)
    return torch.cat([first, rest], 1), f"positions {_by(old)} to {_by(new)}, {mode}"


def cube(tokens: int) -> tuple[int, int, int] | None:
    """Return the sides of a cubic grid with so many tokens, if there is one."""
    side = round(tokens ** (1 / 3))
    return (side, side, side) if side**3 == tokens else None


def fit_kernel(weight: Tensor, shape: Sequence[int]) -> tuple[Tensor, str] | None:
    """Return a convolution's kernel with other sides, or nothing if no rule fits.

    A smaller odd kernel is put in the middle of a larger one, zeros around it: the same function.
    A larger one becomes 1 wide along an axis by its mean, as in nnU-Net: another function.

    Args:
        weight: `[out, in, ...]`.
        shape: Of the kernel to make; the first two must be the weight's.
    """
    old, new = tuple(weight.shape), tuple(shape)
    if len(old) != len(new) or old[:2] != new[:2] or any(side % 2 == 0 for side in old[2:]):
        return None
    how = [f"kernel {_by(old[2:])} to {_by(new[2:])}"]
    for axis, (have, want) in enumerate(zip(old, new, strict=True)):
        if have == want:
            continue
        if want == 1:
            weight = weight.mean(axis, keepdim=True)
            how.append("mean along an axis, not exact")
        elif want > have and want % 2:
            edge = [0] * (2 * weight.ndim)
            edge[2 * (weight.ndim - 1 - axis)] = edge[2 * (weight.ndim - 1 - axis) + 1] = (
                want - have
            ) // 2
            weight = F.pad(weight, edge)
            how.append("zeros around it, exact")
        else:
            return None
    return weight, ": ".join(dict.fromkeys(how))


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
