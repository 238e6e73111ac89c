"""Learned offsets find what a shift has moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.deformable import DeformableAttention, DeformableFusion
from hilum.fusion.mean import MeanFusion

GRID = (3, 4, 5)


def test_at_step_0_it_is_mean_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion, mean = build(DeformableFusion, heads=2, min_stride=2), build(MeanFusion)
    mean.load_state_dict(fusion.state_dict(), strict=False)
    assert_close(fusion(given, available), mean(given, available))


@pytest.fixture
def layer() -> DeformableAttention:
    torch.manual_seed(0)
    layer = DeformableAttention(4, points=2, heads=2, reach=2.0).double()
    torch.nn.init.normal_(layer.out.weight)
    return layer


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 1, 4, *GRID, generator=torch.Generator().manual_seed(3)).double()


def test_with_zero_offsets_it_is_a_projection_of_the_same_voxel(
    layer: DeformableAttention, maps: Tensor
) -> None:
    own, other = maps
    assert_close(layer(own, other), layer.out(layer.value(layer.norm(other))))


def test_it_equals_scipys_interpolation_at_the_offsets(
    layer: DeformableAttention, maps: Tensor
) -> None:
    own, other = maps
    torch.nn.init.normal_(layer.offsets.weight)
    torch.nn.init.normal_(layer.weights.weight)
    both = torch.cat([layer.norm(own), layer.norm(other)], 1)
    offsets = 2.0 * layer.offsets(both).tanh().view(2, 2, 3, *GRID)
    weights = layer.weights(both).view(2, 2, *GRID).softmax(1)
    value = layer.value(layer.norm(other))[0].detach().numpy()
    total = torch.zeros(4, *GRID, dtype=torch.float64)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in GRID), indexing="ij"))
    for channel in range(4):
        head = channel // 2
        for point in range(2):
            at = (index + offsets[head, point]).detach().numpy()
            seen = ndimage.map_coordinates(value[channel], at, order=1, mode="nearest")
            total[channel] += weights[head, point] * torch.from_numpy(seen)
    assert_close(layer(own, other)[0], layer.out(total[None])[0])


def test_an_offset_undoes_a_shift(layer: DeformableAttention, maps: Tensor) -> None:
    """With the offset that a shift calls for, the shifted scan gives what the true one gave."""
    own, other = maps
    torch.nn.init.zeros_(layer.weights.weight)
    shifted = torch.roll(other, 1, 4)
    still = layer(own, other)
    bias = torch.zeros(2, 2, 3, dtype=torch.float64)
    bias[:, :, 2] = torch.atanh(torch.tensor(0.5, dtype=torch.float64))  # one voxel of a reach of 2
    layer.offsets.bias.data = bias.flatten()  # pyright: ignore[reportOptionalMemberAccess]
    inner = (..., slice(0, GRID[2] - 1))
    assert_close(layer(own, shifted)[inner], still[inner])


def test_offsets_never_exceed_their_reach(layer: DeformableAttention, maps: Tensor) -> None:
    """However large the offset, only the neighbourhood is seen."""
    own, other = maps
    layer.reach = 1.0
    layer.offsets.bias.data += 1e6  # pyright: ignore[reportOptionalMemberAccess]
    other = other.requires_grad_()
    layer.norm = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    layer(own, other)[0, :, 0, 0, 0].sum().backward()
    seen = other.grad.abs().sum((0, 1)) > 1e-9  # pyright: ignore[reportOptionalMemberAccess]
    assert seen[:2, :2, :2].any()
    assert not seen[2:].any()
    assert not seen[:, 2:].any()
    assert not seen[:, :, 2:].any()


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="heads must divide channels, got heads=3, channels=4"):
        DeformableAttention(4, heads=3)
