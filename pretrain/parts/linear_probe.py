"""The parts of a probe on frozen features: hypercolumns, ridge regression, best cut, neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def hypercolumns(pyramid: Sequence[Tensor], places: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the stacked features of voxels, as trilinear upsampling of every level would give.

    Source:
        Hariharan et al., "Hypercolumns", CVPR 2015, arXiv:1411.5752.

    Args:
        pyramid: Features `[1, C_i, d, h, w]`.
        places: Indices of voxels `[N, 3]`.
        sides: Sides of the image in voxels.

    Returns:
        `[N, sum of C_i]`.
    """
    lengths = torch.tensor(list(sides), dtype=torch.float32)
    centre = (2 * places.float() + 1) / lengths - 1
    grid = centre.flip(1).view(1, -1, 1, 1, 3)  # grid_sample wants x, y, z
    columns = []
    for level in pyramid:
        own = F.grid_sample(
            level, grid.to(level), mode="bilinear", padding_mode="border", align_corners=False
        )
        columns.append(own[0, :, :, 0, 0].T)
    return torch.cat(columns, 1)


def fit_ridge(columns: Tensor, classes: Tensor, count: int, ridge: float) -> Tensor:
    r"""Return the linear map `[count, C + 1]` (bias last) from columns to one-hot classes.

    $$W = Y^\top S X (X^\top S X + \lambda I)^{-1}$$

    on standardised columns, with weights $S$ by which each class counts the same and all sum to 1.
    The map takes columns that are not standardised.

    Args:
        columns: `[N, C]`.
        classes: `[N]`, integers below `count`.
        count: Number of classes; one that is absent gets scores of 0.
        ridge: $\lambda$, against a variance of 1; the bias has none.
    """
    x, y = columns.double(), F.one_hot(classes, count).double()
    mean, scale = x.mean(0), x.std(0, correction=0).clamp(min=1e-8)
    x = (x - mean) / scale
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    share = 1 / y.sum(0)[classes]
    weighted = x * (share / share.sum())[:, None]
    penalty = torch.full((x.shape[1],), ridge, dtype=x.dtype)
    penalty[-1] = 0
    solved = torch.linalg.solve(weighted.T @ x + torch.diag(penalty), weighted.T @ y).T
    slope = solved[:, :-1] / scale
    return torch.cat([slope, solved[:, -1:] - (slope @ mean)[:, None]], 1).float()


def score_maps(pyramid: Sequence[Tensor], head: Tensor, sides: Sequence[int]) -> Tensor:
    """Return the scores `[classes, D, H, W]` of a linear map on hypercolumns, level by level."""
    head = head.to(pyramid[0])
    total = head[:, -1].view(-1, 1, 1, 1)
    parts = head[:, :-1].split([level.shape[1] for level in pyramid], 1)
    for level, own in zip(pyramid, parts, strict=True):
        small = torch.einsum("oc,cdhw->odhw", own, level[0])[None]
        total = total + F.interpolate(small, size=list(sides), mode="trilinear")[0]
    return total


def best_cut(scores: Tensor, truth: Tensor) -> float:
    """Return the score above which the Dice with `truth` is best; infinity if nothing is true.

    Args:
        scores: `[N]`.
        truth: `[N]` booleans.
    """
    count = int(truth.sum())
    if not count:
        return float("inf")
    order = scores.argsort(descending=True)
    hits = truth[order].cumsum(0)
    taken = torch.arange(1, len(order) + 1)
    ordered = scores[order]
    dice = 2 * hits / (taken + count)
    # Voxels of one score are taken or left together.
    last = torch.cat([ordered[1:] < ordered[:-1], torch.ones(1, dtype=torch.bool)])
    best = int(torch.where(last, dice, -1.0).argmax())
    return float((ordered[best] + ordered[best + 1]) / 2) if best + 1 < len(order) else -1e30


def nearest(bank: Tensor, classes: Tensor, queries: Tensor, count: int, neighbours: int) -> Tensor:
    """Return the class `[Q]` that the nearest columns name, by cosine after standardising.

    Each neighbour votes with `exp(cosine / 0.07)` over the size of its class in the bank.

    Source:
        Wu et al., "Instance Discrimination", CVPR 2018, arXiv:1805.01978, section 3.4 (the votes).
    """
    mean, scale = bank.mean(0), bank.std(0, correction=0).clamp(min=1e-8)
    keys, own = (F.normalize((x - mean) / scale, dim=1) for x in (bank, queries))
    sizes = F.one_hot(classes, count).sum(0).clamp(min=1)
    named = []
    for some in own.split(1024):
        likeness, index = (some @ keys.T).topk(min(neighbours, len(keys)), 1)
        votes = (likeness / 0.07).exp() / sizes[classes[index]]
        total = torch.zeros(len(some), count).scatter_add_(1, classes[index], votes)
        named.append(total.argmax(1))
    return torch.cat(named)
