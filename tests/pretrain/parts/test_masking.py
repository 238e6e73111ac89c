"""Visible blocks are divided over modalities as the shares say, exactly and without bias."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.pretrain.parts.masking import (
    block_sides,
    dirichlet_shares,
    hide_counts,
    hide_share,
    keep_some,
    split_visible,
    to_voxels,
)

BLOCKS = 20


def sainte_lague(shares: list[float], total: int, most: int) -> list[int]:
    """Give seats one by one to the largest share / (seats + 1/2), none beyond `most`."""
    seats = [0] * len(shares)
    for _ in range(total):
        open_ = [m for m in range(len(shares)) if seats[m] < most and shares[m] > 0]
        if open_:
            seats[max(open_, key=lambda m: shares[m] / (seats[m] + 0.5))] += 1
    return seats


@pytest.mark.parametrize("total", [1, 7, 20, 33])
def test_the_seats_are_those_of_sainte_lague(total: int) -> None:
    generator = torch_generator(0, "seats", total)
    have = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    shares = dirichlet_shares(have, 0.7, generator)
    visible = split_visible(shares, torch.full((3,), total), BLOCKS, generator)
    expected = [sainte_lague(row, total, BLOCKS) for row in shares.tolist()]
    assert visible.sum(2).tolist() == expected


def test_shares_are_a_dirichlet_over_what_a_sample_has() -> None:
    generator = torch_generator(0, "shares")
    have = torch.tensor([[True, True, True], [True, False, True]]).repeat(4000, 1)
    for alpha in (0.5, 1.0, 4.0):
        shares = dirichlet_shares(have, alpha, generator)
        assert torch.allclose(shares.sum(1), torch.ones(8000))
        assert (shares[1::2, 1] == 0).all()
        three, two = shares[::2], shares[1::2][:, [0, 2]]
        for drawn, count in ((three, 3), (two, 2)):
            # Variance of a part of a symmetric Dirichlet.
            expected = (1 / count) * (1 - 1 / count) / (count * alpha + 1)
            assert drawn.mean(0).tolist() == pytest.approx([1 / count] * count, abs=0.02)
            assert drawn.var(0).tolist() == pytest.approx([expected] * count, rel=0.1)


def test_counts_are_exact_and_every_block_is_as_likely() -> None:
    counts = torch.tensor([[0, 5], [20, 13]]).repeat(500, 1)
    hidden = hide_counts(counts, BLOCKS, torch_generator(0, "counts"))
    assert torch.equal(hidden.sum(2), counts)
    often = hidden[::2, 1].float().mean(0)
    assert (often - 0.25).abs().max() < 4 * (0.25 * 0.75 / 500) ** 0.5


def test_a_drop_leaves_one_modality_and_never_adds_one() -> None:
    have = torch.tensor([[True, True], [True, False]]).repeat(2000, 1)
    kept = keep_some(have, 0.4, torch_generator(0, "drop"))
    assert not (kept & ~have).any()
    assert kept.any(1).all()
    # Two are left where neither was dropped.
    assert float((kept[::2].sum(1) == 2).float().mean()) == pytest.approx(0.36, abs=0.04)
    assert torch.equal(keep_some(have, 0.0, torch_generator(0, "drop")), have)


def test_blocks_spread_over_their_voxels_and_are_cut_at_the_far_end() -> None:
    hidden = torch.zeros(1, 1, 12, dtype=torch.bool)
    hidden[0, 0, [0, 11]] = True
    mask = to_voxels(hidden, (5, 4, 6), (4, 2, 2))
    expected = torch.zeros(5, 4, 6, dtype=torch.bool)
    expected[:4, :2, :2] = True
    expected[4:, 2:, 4:] = True
    assert torch.equal(mask[0, 0], expected)


@pytest.mark.parametrize("block", [0, [4, 4], [4, 4, -1]])
def test_a_block_needs_sides(block: object) -> None:
    with pytest.raises(SettingsError, match="block"):
        block_sides(block)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("ratio", [0.3, 0.65, 0.75])
def test_the_hidden_share_is_exact_and_every_block_is_equally_likely(ratio: float) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = hide_share(
        (400, 2, 8, 12, 16), block=(4, 4, 4), ratio=ratio, shared=False, generator=generator
    )
    cells = masks[:, :, ::4, ::4, ::4].flatten(2)  # 24 blocks
    assert (cells.sum(2) == round(24 * ratio)).all()
    often = cells.float().mean((0, 1))
    # Four standard errors of a share over 800 draws.
    assert (often - ratio).abs().max() < 4 * (ratio * (1 - ratio) / 800) ** 0.5 + 1 / 48
    blocks = masks.unfold(2, 4, 4).unfold(3, 4, 4).unfold(4, 4, 4).flatten(5)
    assert (blocks.all(-1) == blocks.any(-1)).all()


def test_independent_masks_are_independent_and_shared_ones_are_shared() -> None:
    def draw(shared: bool) -> Tensor:
        return hide_share(
            (200, 2, 8, 8, 8), block=(2, 2, 2), ratio=0.5, shared=shared,
            generator=torch.Generator().manual_seed(1),
        )[:, :, ::2, ::2, ::2]  # fmt: skip

    shared, independent = draw(True), draw(False)
    assert torch.equal(shared[:, 0], shared[:, 1])
    both = (independent[:, 0] & independent[:, 1]).float().mean()
    assert float(both) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(independent[0], independent[1])


def test_sides_that_are_no_multiple_of_the_block_end_in_cut_blocks() -> None:
    masks = hide_share(
        (50, 1, 5, 7, 3), block=(2, 3, 4), ratio=0.5, shared=True,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert masks.shape == (50, 1, 5, 7, 3)
    assert torch.equal(masks[:, :, 0], masks[:, :, 1])
    assert torch.equal(masks[..., 0, :], masks[..., 2, :])
    assert not torch.equal(masks[:, :, 3], masks[:, :, 4])
    assert torch.equal(masks[..., 0], masks[..., 2])
