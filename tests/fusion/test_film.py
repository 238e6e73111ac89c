"""Modulation starts as nothing, and then scales and shifts by what the others show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.film import FilmFusion
from hilum.fusion.mean import MeanFusion
from hilum.fusion.pyramids import encode, presence


@pytest.mark.parametrize("modulation", ["channel", "voxel"])
def test_at_step_0_it_is_mean_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor, modulation: str
) -> None:
    film, mean = build(FilmFusion, modulation=modulation), build(MeanFusion)
    mean.load_state_dict(film.state_dict(), strict=False)
    assert_close(film(given, available), mean(given, available))


@pytest.mark.parametrize("modulation", ["channel", "voxel"])
def test_it_equals_the_formula(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor, modulation: str
) -> None:
    fusion = build(FilmFusion, modulation=modulation)
    stir(fusion)
    present = presence(fusion, available)
    maps = encode(fusion, given, present)[1]
    found = fusion._modulated(1, maps, present)
    assert_close(found["ct"][1], maps["ct"][1], rtol=0, atol=0)
    first, _, last = fusion.modulators["ct_1"]
    place = (1, 3, 0)
    other = maps["pet"][0]
    seen = other.flatten(1).mean(1) if modulation == "channel" else other[(slice(None), *place)]
    hidden = torch.nn.functional.gelu(first.weight[..., 0, 0, 0] @ seen + first.bias)
    gamma, beta = (last.weight[..., 0, 0, 0] @ hidden + last.bias).chunk(2)
    own = maps["ct"][0][(slice(None), *place)]
    assert_close(found["ct"][0][(slice(None), *place)], own + gamma * own + beta)


def test_a_squeeze_below_one_is_refused(build: Callable) -> None:
    with pytest.raises(ValueError, match="squeeze must be at least 1, got 0"):
        build(FilmFusion, squeeze=0)
