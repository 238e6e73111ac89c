"""STU-Net's files; `tests/encoders/decoders` compares the modules with the published network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.networks import make_decoder, read_network
from hilum.exchange.weights_in.importing import import_weights


@pytest.mark.parametrize("size", [(4, 8, 8), (16, 32)])
def test_both_parts_of_a_file_are_taken(size: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = {"name": "stunet", "features": list(size), "blocks": [1] * len(size)}
    encoder = build(ENCODERS, spec, in_channels=2)
    decoder = make_decoder({"name": "stunet"}, encoder, 3)
    state = {n.removeprefix("inner."): v for n, v in encoder.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state | decoder.state_dict()}, tmp_path / "f.model")
    folder, report = import_weights(
        "auto", tmp_path / "f.model", tmp_path / "out", modalities=("ct", "pet"), whole=True
    )
    assert report.covered == 1
    assert read_network(folder).config.encoder.extra["imported"]["source"] == "stunet"
    image = torch.randn(1, 2, 8, 8, 8)
    assert_close(read_network(folder)(image), decoder(encoder(image))[0], rtol=0, atol=1e-6)
