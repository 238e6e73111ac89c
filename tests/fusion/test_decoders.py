"""Decoders share the coarsest level and keep their own skips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.fusion.decoders import DecodersFusion
from hilum.fusion.late import LateFusion


def test_it_equals_the_formula(build: Callable, given: dict[str, Tensor]) -> None:
    fusion = build(DecodersFusion)
    ct, pet = (fusion.encoders[name](given[name]) for name in ("ct", "pet"))
    shared = (ct[-1] + pet[-1]) / 2
    one = fusion.decoders["ct"]([*ct[:-1], shared])[0]
    two = fusion.decoders["pet"]([*pet[:-1], shared])[0]
    everything = torch.ones(3, 2, dtype=torch.bool)
    assert_close(fusion(given, everything)[0], (one + two) / 2)


def test_with_one_modality_it_is_late_fusion(build: Callable, given: dict[str, Tensor]) -> None:
    fusion, late = build(DecodersFusion), build(LateFusion)
    late.load_state_dict(fusion.state_dict(), strict=False)
    for row in ([True, False], [False, True]):
        alone = torch.tensor([row] * 3)
        assert_close(fusion(given, alone), late(given, alone))
