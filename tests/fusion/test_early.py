"""Early fusion is one network over stacked modalities, with a learned value where one is absent."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion.early import EarlyFusion


def early() -> EarlyFusion:
    torch.manual_seed(0)
    return EarlyFusion(
        modalities=("ct", "pet"),
        encoders={"all": ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])},
        make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
    )


def test_equals_encoder_and_decoder_on_the_stacked_image() -> None:
    fusion = early()
    image = torch.randn(2, 2, 4, 2, 6)
    given = {"ct": image[:, :1], "pet": image[:, 1:]}
    expected = fusion.decoder(fusion.encoders["all"](image))
    for got, want in zip(fusion(given, torch.ones(2, 2, dtype=torch.bool)), expected, strict=True):
        assert_close(got, want)


def test_an_absent_modality_is_its_placeholder() -> None:
    fusion = early()
    fusion.placeholder.data = torch.tensor([0.3, -0.7])
    image = torch.randn(1, 2, 4, 2, 6)
    filled = image.clone()
    filled[:, 1] = -0.7
    given = {"ct": image[:, :1], "pet": image[:, 1:]}
    got = fusion(given, torch.tensor([[True, False]]))[0]
    assert_close(got, fusion.decoder(fusion.encoders["all"](filled))[0])
