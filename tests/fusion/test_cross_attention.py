"""Cross-attention lets modalities read each other, and changes nothing until it has learned to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion.cross_attention import CrossAttention, CrossAttentionFusion
from hilum.fusion.pyramids import masked_mean

CHANNELS, HEADS, GRID = 8, 2, (2, 3, 4)


@pytest.fixture
def maps() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, CHANNELS, *GRID, generator=generator, dtype=torch.float64)


@pytest.fixture
def trained() -> CrossAttention:
    """Return a layer that has left its zero start."""
    torch.manual_seed(0)
    layer = CrossAttention(CHANNELS, HEADS).double()
    torch.nn.init.xavier_uniform_(layer.out.weight)
    return layer


def test_a_new_layer_changes_nothing(maps: Tensor) -> None:
    own, one, two = maps
    layer = CrossAttention(CHANNELS, HEADS).double()
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert_close(layer(own, [one, two], everything), own, rtol=0, atol=0)


def test_a_case_without_others_keeps_its_map_and_a_finite_gradient(
    trained: CrossAttention, maps: Tensor
) -> None:
    own, other, _ = maps
    present = torch.tensor([[False], [True]])
    other = other.requires_grad_()
    out = trained(own, [other], present)
    assert_close(out[0], own[0], rtol=0, atol=0)
    out.square().sum().backward()
    assert other.grad is not None
    assert (other.grad[0] == 0).all()
    assert (other.grad[1] != 0).any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.parameters())


def test_equals_the_formula_of_the_docstring(trained: CrossAttention, maps: Tensor) -> None:
    own, one, two = maps
    present = torch.tensor([[True, True], [False, True]])
    assert_close(
        trained(own, [one, two], present), attend_by_hand(trained, own, [one, two], present)
    )


def test_a_window_as_large_as_the_grid_is_global(trained: CrossAttention, maps: Tensor) -> None:
    own, one, _ = maps
    present = torch.ones(2, 1, dtype=torch.bool)
    whole = trained(own, [one], present)
    trained.max_tokens = GRID[0] * GRID[1] * GRID[2]
    assert_close(trained(own, [one], present), whole, rtol=0, atol=0)


def test_windows_do_not_see_each_other(trained: CrossAttention, maps: Tensor) -> None:
    """With windows of half the width, one half is as if the other were not there."""
    own, one, _ = maps
    present = torch.ones(2, 1, dtype=torch.bool)
    trained.max_tokens = 12
    cut = trained(own, [one], present)
    half = trained(own[..., :2], [one[..., :2]], present)
    assert_close(cut[..., :2], half)


def test_a_halo_lets_a_window_see_its_surroundings(trained: CrossAttention, maps: Tensor) -> None:
    """Each voxel attends to those of its window and one around it, as when cut by hand."""
    own, one, two = maps
    present = torch.tensor([[True, True], [False, True]])
    trained.max_tokens, trained.halo = 12, 1
    cut = trained(own, [one, two], present)
    for at, seen in ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(1, 4))):
        near = [one[..., seen], two[..., seen]]
        assert_close(cut[..., at], attend_by_hand(trained, own[..., at], near, present))


def test_a_halo_around_a_single_window_changes_nothing(
    trained: CrossAttention, maps: Tensor
) -> None:
    own, one, _ = maps
    present = torch.ones(2, 1, dtype=torch.bool)
    whole = trained(own, [one], present)
    trained.halo = 2
    assert_close(trained(own, [one], present), whole, rtol=0, atol=0)


def test_fine_levels_attend_in_windows_and_coarse_ones_as_a_whole() -> None:
    encoders = {
        m: ResencEncoder(in_channels=1, features=[4, 8, 8, 8, 8], blocks=[1] * 5)
        for m in ("ct", "pet")
    }
    fusion = CrossAttentionFusion(
        modalities=("ct", "pet"),
        encoders=encoders,
        make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        min_stride=8,
    )
    found = {name: layer.max_tokens for name, layer in fusion.attention.items()}
    assert found == {"ct_3": 512, "pet_3": 512, "ct_4": 4096, "pet_4": 4096}


def test_odd_sides_are_cut_into_windows_too(trained: CrossAttention) -> None:
    own, other = torch.randn(2, 1, CHANNELS, 3, 5, 3, dtype=torch.float64)
    present = torch.ones(1, 1, dtype=torch.bool)
    trained.max_tokens = 9
    cut = trained(own, [other], present)
    for row in range(5):
        part = (..., slice(row, row + 1), slice(None))
        assert_close(cut[part], attend_by_hand(trained, own[part], [other[part]], present))


def test_at_step_0_the_fused_network_is_the_mean_of_its_unimodal_ones() -> None:
    torch.manual_seed(0)
    encoders = {
        m: ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1]) for m in ("ct", "pet")
    }
    fusion = CrossAttentionFusion(
        modalities=("ct", "pet"),
        encoders=encoders,
        make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        heads=2,
        min_stride=1,
    )
    x = {m: torch.randn(1, 1, 4, 4, 6) for m in ("ct", "pet")}
    for m, row in (("ct", [True, False]), ("pet", [False, True])):
        alone = fusion.decoder(encoders[m](x[m]))
        assert_close(fusion(x, torch.tensor([row]))[0], alone[0])
    pyramids = [encoders[m](x[m]) for m in x]
    mean = [(a + b) / 2 for a, b in zip(*pyramids, strict=True)]
    assert_close(fusion(x, torch.tensor([[True, True]]))[0], fusion.decoder(mean)[0])


def test_the_masked_mean_by_hand() -> None:
    maps = {"ct": torch.full((2, 1, 1, 1, 1), 2.0), "pet": torch.full((2, 1, 1, 1, 1), 4.0)}
    have = {"ct": torch.tensor([True, False]), "pet": torch.tensor([True, True])}
    present = {name: row.view(-1, 1, 1, 1, 1) for name, row in have.items()}
    assert masked_mean(maps, present).flatten().tolist() == [3.0, 4.0]


def test_heads_must_divide_channels() -> None:
    with pytest.raises(ValueError, match="heads must divide channels, got heads=3 and channels=8"):
        CrossAttention(CHANNELS, 3)


def test_windows_must_hold_a_voxel() -> None:
    with pytest.raises(ValueError, match="max_tokens must be at least 1, halo 0, got 0 and 0"):
        CrossAttention(CHANNELS, HEADS, max_tokens=0)


def test_encoders_of_unequal_strides_are_refused() -> None:
    one = ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1])
    two = ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1], strides=[2, 2])
    with pytest.raises(ValueError, match="encoders must have equal channels and strides"):
        CrossAttentionFusion(
            modalities=("ct", "pet"),
            encoders={"ct": one, "pet": two},
            make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        )


def attend_by_hand(
    layer: CrossAttention, own: Tensor, others: list[Tensor], present: Tensor
) -> Tensor:
    """Attend as the docstring writes it: one case, head and voxel at a time."""
    w_k, w_v = layer.memory.weight.chunk(2)
    b_k, b_v = layer.memory.bias.chunk(2)
    fused = own.flatten(2).clone()
    for case in range(len(own)):
        query = layer.norm(own[case].flatten(1).T)
        seen = [o[case].flatten(1).T for i, o in enumerate(others) if present[case, i]]
        memory = layer.norm(torch.cat(seen))
        for voxel, token in enumerate(query):
            q_all = layer.query(token)
            found = []
            for head in range(HEADS):
                part = slice(head * CHANNELS // HEADS, (head + 1) * CHANNELS // HEADS)
                keys = memory @ w_k[part].T + b_k[part]
                weights = (keys @ q_all[part] / (CHANNELS // HEADS) ** 0.5).softmax(0)
                found.append(weights @ (memory @ w_v[part].T + b_v[part]))
            fused[case, :, voxel] += layer.out(torch.cat(found))
    return fused.unflatten(2, own.shape[2:])
