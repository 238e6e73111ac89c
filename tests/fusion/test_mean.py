"""Mean fusion is the mean of what is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor
from torch.testing import assert_close

from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion.mean import MeanFusion


def test_it_decodes_the_mean_of_what_is_available(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(MeanFusion)
    ct, pet = (fusion.encoders[name](given[name]) for name in ("ct", "pet"))
    both = [(a + b) / 2 for a, b in zip(ct, pet, strict=True)]
    for row, pyramid in enumerate((both, ct, pet)):
        alone = fusion.decoder([x[row : row + 1] for x in pyramid])[0]
        assert_close(fusion(given, available)[0][row], alone[0])


def test_encoders_of_unequal_strides_are_refused() -> None:
    one = ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1])
    two = ResencEncoder(in_channels=1, features=[4, 8], blocks=[1, 1], strides=[2, 2])
    with pytest.raises(ValueError, match="encoders must have equal channels and strides"):
        MeanFusion(
            modalities=("ct", "pet"),
            encoders={"ct": one, "pet": two},
            make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        )
