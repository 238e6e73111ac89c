"""Gates share each voxel or channel among the modalities that there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.gated import GatedFusion
from hilum.fusion.mean import MeanFusion
from hilum.fusion.pyramids import encode, presence


@pytest.mark.parametrize("gate", ["voxel", "channel"])
def test_at_step_0_it_is_mean_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor, gate: str
) -> None:
    gated, mean = build(GatedFusion, gate=gate), build(MeanFusion)
    mean.load_state_dict(gated.state_dict(), strict=False)
    assert_close(gated(given, available), mean(given, available))


@pytest.mark.parametrize("gate", ["voxel", "channel"])
def test_gates_are_the_sigmoid_of_a_difference_and_leave_the_absent_out(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor, gate: str
) -> None:
    fusion = build(GatedFusion, gate=gate)
    stir(fusion)
    present = presence(fusion, available)
    maps = encode(fusion, given, present)[1]
    share = fusion.shares(1, maps, present)
    assert_close(share["ct"] + share["pet"], torch.ones_like(share["ct"]))
    assert (share["pet"][1] == 0).all()
    assert (share["ct"][2] == 0).all()
    case, place = 0, (1, 2, 1)
    context = (maps["ct"][case] + maps["pet"][case]) / 2
    score = {}
    for name in ("ct", "pet"):
        seen = torch.cat([maps[name][case], context])
        at = seen[(slice(None), *place)] if gate == "voxel" else seen.flatten(1).mean(1)
        layer = fusion.gates[f"{name}_1"]
        score[name] = layer.weight[..., 0, 0, 0] @ at + layer.bias
    expected = torch.sigmoid(score["ct"] - score["pet"])
    found = share["ct"][case]
    assert_close(found[(slice(None), *place)] if gate == "voxel" else found[:, 0, 0, 0], expected)
