"""Which blocks of a volume are hidden and which stay visible."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from hilum.core.compat import gamma
from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

LEAST_SHARE = 1e-6  # Below it, ranks divided by a share would leave float32.


def block_sides(block: int | Sequence[int]) -> IntTriple:
    """Return the sides of a block in voxels, checked."""
    sides = (block,) * 3 if isinstance(block, int) else tuple(block)
    if len(sides) != 3 or min(sides) < 1:
        raise SettingsError(
            "a block needs one side, or three, of at least 1 voxel",
            found=block,
            remedy="as in block=8",
        )
    return sides[0], sides[1], sides[2]


def grid_of_blocks(sides: Sequence[int], block: IntTriple) -> IntTriple:
    """Return how many blocks cover each side; the last one may be cut."""
    depth, height, width = (-(-side // size) for side, size in zip(sides, block, strict=True))
    return depth, height, width


def check_blocks(patch: IntTriple, block: IntTriple, remedy: str = "") -> None:
    """Refuse a patch of a single block, where all or nothing would be hidden.

    Args:
        patch: Sides of a patch in voxels.
        block: Sides of a block in voxels.
        remedy: What to do; by default to make blocks smaller, or the patch larger.
    """
    if prod(grid_of_blocks(patch, block)) < 2:
        raise SettingsError(
            "a patch must have at least two blocks",
            found=f"patch {patch} with blocks of {block}",
            remedy=remedy or "lower task.block or enlarge patch",
        )


def random_ranks(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return a random order along the last axis: each place's rank, from 0."""
    drawn = torch.rand(tuple(shape), generator=generator, device=generator.device)
    return drawn.argsort(-1).argsort(-1)


def hide_counts(counts: Tensor, blocks: int, generator: torch.Generator) -> Tensor:
    """Hide `counts` of the blocks of each sample and modality, each choice equally likely.

    Args:
        counts: `[B, M]`.
        blocks: Blocks of a volume.
        generator: On the device of `counts`.

    Returns:
        Booleans `[B, M, blocks]`, true where hidden.
    """
    return random_ranks((*counts.shape, blocks), generator) < counts[..., None]


def hide_share(
    shape: Sequence[int],
    *,
    block: IntTriple,
    ratio: float,
    shared: bool,
    generator: torch.Generator,
) -> Tensor:
    """Hide `round(ratio * n)` of the `n` blocks of each sample, at least 1 and at most `n - 1`.

    A block at the far end is cut where the sides are no multiple of it.

    Args:
        shape: `[B, M, D, H, W]` of the images.
        block: Sides of a block in voxels.
        ratio: Fraction of the blocks to hide.
        shared: Whether the modalities of a sample hide the same places.
        generator: Draws; on the device of the images.

    Returns:
        Booleans `[B, M, D, H, W]` on the generator's device, true where hidden.
    """
    batch, modalities, *sides = shape
    count = prod(grid_of_blocks(sides, block))
    chosen = min(max(round(ratio * count), 1), count - 1)
    rows, device = batch * (1 if shared else modalities), generator.device
    order = torch.rand(rows, count, generator=generator, device=device).argsort(1)
    flat = torch.zeros(rows, count, dtype=torch.bool, device=device)
    flat.scatter_(1, order[:, :chosen], True)
    mask = to_voxels(flat.view(batch, -1, count), sides, block)
    return mask.expand(-1, modalities, -1, -1, -1)


def to_voxels(hidden: Tensor, sides: Sequence[int], block: IntTriple) -> Tensor:
    """Spread booleans of blocks, `[B, M, blocks]`, over their voxels, `[B, M, *sides]`."""
    mask = hidden.unflatten(2, grid_of_blocks(sides, block))
    for axis, (size, side) in enumerate(zip(block, sides, strict=True), start=2):
        mask = mask.repeat_interleave(size, axis).narrow(axis, 0, side)
    return mask


def keep_one(available: Tensor, generator: torch.Generator) -> Tensor:
    """Choose one modality of those that each sample has, each as likely.

    Returns:
        Booleans `[B, M]`; none where a sample has no modality.
    """
    drawn = torch.rand(available.shape, generator=generator, device=generator.device)
    drawn = drawn.masked_fill(~available, -1.0)
    chosen = torch.zeros_like(available).scatter_(1, drawn.argmax(1, keepdim=True), True)
    return chosen & available


def keep_some(available: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """Drop each modality with a probability, but never all that a sample has.

    Returns:
        Booleans `[B, M]`: which modalities stay; none that is absent.
    """
    drawn = torch.rand(available.shape, generator=generator, device=generator.device)
    drawn = drawn.masked_fill(~available, -1.0)
    lucky = torch.zeros_like(available).scatter_(1, drawn.argmax(1, keepdim=True), True)
    return available & ((drawn >= drop) | lucky)


def dirichlet_shares(kept: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw each sample's fractions of what is visible from a symmetric Dirichlet over what it has.

    A Dirichlet over some of the modalities is independent gamma draws over their sum.

    Returns:
        `[B, M]`, with a sum of 1; 0 for modalities that are not `kept`.
    """
    concentration = torch.full(kept.shape, alpha, device=generator.device)
    drawn = gamma(concentration, generator).clamp(min=LEAST_SHARE) * kept
    return drawn / drawn.sum(1, keepdim=True).clamp(min=LEAST_SHARE)


def split_visible(
    shares: Tensor, totals: Tensor, blocks: int, generator: torch.Generator
) -> Tensor:
    """Choose `totals` visible blocks of each sample, divided over its modalities by `shares`.

    The seats are given as Sainte-Lague gives them: block of rank `r` in a modality with share `p`
    gets the quotient `(r + 1/2) / p`, and the smallest quotients win. So the numbers are within
    one of `p` times the total for two modalities, have exactly the sum, and a modality that has
    no block left passes the rest on. A fraction of 0 gets nothing, even if blocks are left over.

    Args:
        shares: `[B, M]`.
        totals: `[B]`, visible blocks of each sample over all modalities.
        blocks: Blocks of one volume.
        generator: On the device of `shares`.

    Returns:
        Booleans `[B, M, blocks]`, true where visible.
    """
    ranks = random_ranks((*shares.shape, blocks), generator)
    quotient = (ranks + 0.5) / shares.clamp(min=LEAST_SHARE**2)[..., None]
    quotient = quotient.masked_fill(shares[..., None] <= 0, float("inf"))
    place = quotient.flatten(1).argsort(dim=1, stable=True).argsort(dim=1)
    chosen = (place < totals[:, None]).view_as(quotient)
    return chosen & quotient.isfinite()


def hide_by_dirichlet(
    available: Tensor,
    blocks: int,
    ratio: float,
    alpha: float,
    drop: float,
    generator: torch.Generator,
) -> Tensor:
    """Hide `ratio` of all blocks that a sample has; a Dirichlet divides the rest over modalities.

    At least one block stays visible and one is hidden in each sample that has a modality. Where
    modalities are dropped and the others have too few blocks, fewer stay visible.

    Source:
        Bachmann et al., "MultiMAE", ECCV 2022, arXiv:2204.01678, section 3.2: a fixed number of
        visible tokens, shares from a symmetric Dirichlet. Ours: the number follows what a sample
        has, and `drop` hides whole modalities, so that one must be told from the other.

    Args:
        available: `[B, M]`.
        blocks: Blocks of one volume.
        ratio: Fraction of the blocks to hide, over all modalities of a sample.
        alpha: Concentration: 1 makes every split as likely, larger ones make even splits likelier.
        drop: Probability to hide a modality in full; never all of a sample.
        generator: On the device of `available`.

    Returns:
        Booleans `[B, M, blocks]`, true where hidden; never in a modality that is absent.
    """
    kept = keep_some(available, drop, generator) if drop else available
    shares = dirichlet_shares(kept, alpha, generator)
    there = blocks * available.sum(1)
    totals = ((1 - ratio) * there).round().clamp(min=1).minimum(there - 1)
    visible = split_visible(shares, totals, blocks, generator)
    return ~visible & available[..., None]


def check_split(alpha: float, drop: float) -> None:
    """Refuse what is no concentration or no probability."""
    if not 0 < alpha < float("inf"):
        raise SettingsError("alpha must be above 0", found=alpha, remedy="try 1.0")
    if not 0 <= drop < 1:
        raise SettingsError(
            "drop must be at least 0 and below 1", found=drop, remedy="as in drop=0.5"
        )
