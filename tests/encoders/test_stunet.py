"""STU-Net's sizes are the published ones; `decoders/test_whole_networks.py` compares its maps."""

from __future__ import annotations

import pytest
import torch

from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.networks import make_decoder


@pytest.mark.parametrize(("size", "millions"), [("small", 14.6), ("base", 58.3), ("large", 440.3)])
def test_a_network_has_the_published_number_of_parameters(size: str, millions: float) -> None:
    """Table 1 of arXiv:2304.06716, for one channel and TotalSegmentator's 104 classes."""
    with torch.device("meta"):
        encoder = build(ENCODERS, {"name": "stunet", "size": size}, in_channels=1)
        blocks = len(encoder.get_submodule("inner.conv_blocks_context.0"))
        decoder = make_decoder({"name": "stunet", "blocks": blocks}, encoder, 105)
    count = sum(p.numel() for part in (encoder, decoder) for p in part.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_both_convolutions_of_the_image_are_the_stem() -> None:
    encoder = build(ENCODERS, {"name": "stunet"}, in_channels=3)
    assert [tuple(encoder.get_parameter(name).shape[:2]) for name in encoder.stem] == [(8, 3)] * 2
