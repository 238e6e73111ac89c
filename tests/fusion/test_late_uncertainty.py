"""The surer network counts more, voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.late import LateFusion
from hilum.fusion.late_uncertainty import LateUncertaintyFusion


def test_without_sharpness_it_is_late_fusion(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion, late = build(LateUncertaintyFusion, sharpness=0.0), build(LateFusion)
    late.load_state_dict(fusion.state_dict(), strict=False)
    assert_close(fusion(given, available), late(given, available))


def test_it_equals_the_formula_voxel_by_voxel(build: Callable) -> None:
    fusion = build(LateUncertaintyFusion, sharpness=3.0)
    fusion.log_temperature["pet"].data.fill_(0.5)
    logits = torch.randn(2, 1, 2, 1, 2, 3, dtype=torch.float64)
    found = fusion._combined(logits, torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool))
    for place in ((0, 0, 0), (0, 1, 2)):
        scores = []
        for row, heat in zip(logits[:, 0], (1.0, 2.718281828459045**0.5), strict=True):
            p = torch.softmax(row[(slice(None), *place)] / heat, 0)
            scores.append(3.0 * float((p * p.log()).sum()) / 0.6931471805599453)
        share = torch.softmax(torch.tensor(scores), 0)
        expected = sum(
            float(w) * row[(slice(None), *place)]
            for w, row in zip(share, logits[:, 0], strict=True)
        )
        assert_close(found[(0, slice(None), *place)], expected, atol=1e-5, rtol=1e-5)


def test_the_surer_network_wins(build: Callable) -> None:
    fusion = build(LateUncertaintyFusion, sharpness=50.0)
    sure, unsure = torch.tensor([6.0, -6.0]), torch.tensor([-0.1, 0.1])
    logits = torch.stack([sure, unsure]).view(2, 1, 2, 1, 1, 1)
    both = torch.ones(2, 1, 1, 1, 1, 1, dtype=torch.bool)
    assert_close(fusion._combined(logits, both).flatten(), sure, atol=1e-3, rtol=0)


def test_a_negative_sharpness_is_refused(build: Callable) -> None:
    with pytest.raises(ValueError, match="sharpness must not be negative, got -1"):
        build(LateUncertaintyFusion, sharpness=-1.0)
