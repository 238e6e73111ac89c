"""A baseline looks at its one modality and at nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion.single import SingleFusion


def test_the_other_modality_does_not_matter() -> None:
    torch.manual_seed(0)
    fusion = SingleFusion(
        modalities=("ct", "pet"),
        encoders={"pet": ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1])},
        make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        modality="pet",
    )
    pet, both = torch.randn(1, 1, 4, 2, 6), torch.tensor([[True, True]])
    one = fusion({"ct": torch.randn(1, 1, 4, 2, 6), "pet": pet}, both)[0]
    two = fusion({"ct": torch.randn(1, 1, 4, 2, 6), "pet": pet}, both)[0]
    assert_close(one, two, rtol=0, atol=0)
    assert_close(one, fusion.decoder(fusion.encoders["pet"](pet))[0])


def test_a_modality_that_the_cohort_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="modality must be one of ct, pet, got 'mr'"):
        SingleFusion.inputs(("ct", "pet"), modality="mr")
