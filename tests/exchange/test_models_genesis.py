"""A file of Models Genesis is known by its names, and told apart from what has an encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hilum.core.errors import CheckpointError
from hilum.encoders import ENCODERS
from hilum.exchange.importing import import_weights, recognise
from hilum.exchange.reading import read_foreign

STATE = {
    "module.down_tr64.ops.0.conv1.weight": torch.ones(32, 1, 3, 3, 3),
    "module.down_tr64.ops.1.conv1.weight": torch.ones(64, 32, 3, 3, 3),
    "module.up_tr256.up_conv.weight": torch.ones(512, 512, 2, 2, 2),
}


def test_the_names_are_known_below_any_wrapper(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": STATE, "optimizer_state_dict": {}}, tmp_path / "g.pt")
    source, why = recognise(read_foreign(tmp_path / "g.pt"))
    assert source == "models_genesis"
    assert "down_tr64" in why


@pytest.mark.skipif("unet3d" in ENCODERS, reason="there is an encoder for it")
def test_without_an_encoder_for_it_the_error_says_so(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "Genesis_Chest_CT.pt")
    with pytest.raises(CheckpointError, match="3D U-Net of Models Genesis"):
        import_weights("auto", tmp_path / "Genesis_Chest_CT.pt", tmp_path / "e", modalities=["ct"])
