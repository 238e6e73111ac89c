"""Concatenation starts as the mean, and is a matrix product per voxel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.concat import ConcatFusion
from hilum.fusion.mean import MeanFusion
from hilum.fusion.pyramids import encode, presence


def test_at_step_0_it_is_mean_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    concat, mean = build(ConcatFusion), build(MeanFusion)
    mean.load_state_dict(concat.state_dict(), strict=False)
    assert_close(concat(given, available), mean(given, available))


def test_it_equals_the_formula_voxel_by_voxel(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(ConcatFusion)
    stir(fusion)
    present = presence(fusion, available)
    maps = encode(fusion, given, present)[1]
    found = fusion._mixed(1, maps, present)
    for case in range(3):
        have = [name for name in maps if present[name][case].item()]
        for place in ((0, 0, 0), (1, 3, 2)):
            expected = fusion.shift[1].clone()
            for name in maps:
                if name in have:
                    weight = fusion.mix[f"{name}_1"].weight[..., 0, 0, 0]
                    expected += weight @ maps[name][(case, slice(None), *place)] * 2 / len(have)
                else:
                    expected += fusion.placeholder[f"{name}_1"]
            assert_close(found[(case, slice(None), *place)], expected)


def test_a_placeholder_is_learned_only_from_cases_that_lack_the_modality(
    build: Callable, given: dict[str, Tensor]
) -> None:
    fusion = build(ConcatFusion)
    fusion(given, torch.tensor([[True, False]] * 3))[0].sum().backward()
    assert (fusion.placeholder["pet_1"].grad != 0).any()
    assert (fusion.placeholder["ct_1"].grad == 0).all()
