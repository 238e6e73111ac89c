"""Exports are whole or absent, describe themselves, and never replace what is no export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.encoders.resenc import ResencEncoder
from hilum.exchange.networks_out.exporting import TARGETS, export
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

ARCHITECTURE: dict[str, Any] = {
    "name": "resenc",
    "features": [4, 8, 12],
    "blocks": [1, 2, 1],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}


def encoder_folder(folder: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "modalities": ("ct", "pet"),
        "spacing": (3.0, 2.0, 2.0),
        "patch": (8, 12, 16),
        "licence": "CC-BY-4.0",
    }
    torch.manual_seed(0)
    config = validate(EncoderConfig, values | changes)
    spec = {k: v for k, v in config.architecture.items() if k != "name"}
    return save_encoder(folder, ResencEncoder(in_channels=2, **spec), config)


def segmenter_folder(folder: Path) -> Path:
    values = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "fusion": {"name": "early"},
        "patch": (4, 6, 8),
        "spacing": (4.0, 4.0, 4.0),
    }
    return Segmenter(validate(SegmenterConfig, values)).save(folder)


@pytest.mark.parametrize("make", [encoder_folder, segmenter_folder])
def test_a_state_dict_holds_tensors_only(make: Any, tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    out = export(source, "state_dict", tmp_path / "out")
    state = torch.load(out / "model.pt", weights_only=True)
    from safetensors.torch import load_file

    expected = load_file(source / "model.safetensors")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    about = read_json(out / "export.json")
    digits = hashlib.sha256((out / "model.pt").read_bytes()).hexdigest()
    assert about["files"]["model.pt"] == digits
    assert about["target"] == "state_dict"


def test_a_target_says_what_it_is_made_from(tmp_path: Path) -> None:
    source = encoder_folder(tmp_path / "source")
    with pytest.raises(CheckpointError, match="onnx is made from segmenter folders"):
        export(source, "onnx", tmp_path / "out")
    with pytest.raises(SettingsError, match="did you mean 'onnx'"):
        export(source, "onx", tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"must hold config.json and model.safetensors"):
        export(tmp_path, "onnx", tmp_path / "out")


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    source = encoder_folder(tmp_path / "source")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match=r"an earlier result of hilum export, found thesis\.txt"):
        export(source, "state_dict", mine)
    assert (mine / "thesis.txt").exists()
    with pytest.raises(UserError, match="must not replace what the command reads"):
        export(source, "state_dict", source)
    with pytest.raises(UserError, match="must not replace what the command reads"):
        export(source, "state_dict", tmp_path)
    out = export(source, "state_dict", tmp_path / "out")
    export(source, "huggingface", out)
    assert not (out / "model.pt").exists()


def test_every_target_has_its_file() -> None:
    room = Path(__file__).parents[3] / "hilum" / "exchange" / "networks_out"
    written = {path.stem for path in room.glob("*.py")}
    others = {"__init__", "exporting", "network", "nnunet_networks"}
    others |= {"bundle_decision", "bundle_readme"}
    assert written - others == set(TARGETS)
