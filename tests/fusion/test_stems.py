"""Stems start as early fusion, and add nothing for what is absent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.early import EarlyFusion
from hilum.fusion.stems import StemsFusion


def test_at_step_0_it_is_early_fusion_with_empty_channels(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    stems, early = build(StemsFusion), build(EarlyFusion)
    early.load_state_dict(stems.state_dict(), strict=False)
    assert_close(stems(given, available), early(given, available))


def test_it_equals_the_formula(build: Callable, stir: Callable, given: dict[str, Tensor]) -> None:
    fusion = build(StemsFusion)
    stir(fusion)
    image = torch.cat([given["ct"], given["pet"]], 1)
    image = image + fusion.stems["ct"](given["ct"]) + fusion.stems["pet"](given["pet"])
    everything = torch.ones(3, 2, dtype=torch.bool)
    assert_close(fusion(given, everything), fusion.decoder(fusion.encoders["all"](image)))
    alone = torch.cat([given["ct"], torch.zeros_like(given["pet"])], 1)
    alone = alone + fusion.stems["ct"](given["ct"])
    ct_only = torch.tensor([[True, False]] * 3)
    assert_close(fusion(given, ct_only), fusion.decoder(fusion.encoders["all"](alone)))


def test_a_stem_without_width_is_refused(build: Callable) -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        build(StemsFusion, width=0)
