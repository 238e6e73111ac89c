"""Visible blocks are divided over modalities as the shares say, exactly and without bias."""

from __future__ import annotations

import pytest
import torch

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.pretrain.parts.masking import (
    block_sides,
    dirichlet_shares,
    hide_counts,
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
