"""Exports are whole or absent, describe themselves, and never replace what is no export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.files import read_json, write_json
from hilum.core.settings import validate
from hilum.encoders.resenc import ResencEncoder
from hilum.exchange.export_nnunet import architecture_of, difference
from hilum.exchange.exporting import TARGETS, export
from hilum.finetune.segmenter import Segmenter, SegmenterConfig

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


def test_nnunets_own_function_loads_our_encoder(tmp_path: Path) -> None:
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    source = encoder_folder(tmp_path / "source")
    out = export(source, "nnunet", tmp_path / "out")
    plan = read_json(out / "architecture.json")
    torch.manual_seed(7)
    network = get_network_from_plans(
        plan["network_class_name"],
        plan["arch_kwargs"],
        plan["_kw_requires_import"],
        input_channels=2,
        output_channels=5,
        deep_supervision=True,
    )
    ours = ResencEncoder(in_channels=2, **{k: v for k, v in ARCHITECTURE.items() if k != "name"})
    from safetensors.torch import load_file

    # The file holds each tensor once, the network has some under two names.
    ours.load_state_dict(load_file(source / "model.safetensors"), strict=False)
    image = torch.randn(2, 2, 8, 16, 12)
    assert difference(ours, network.encoder, image) > 0.01
    load_pretrained_weights(network, str(out / "checkpoint.pth"))
    assert difference(ours, network.encoder, image) == 0
    assert difference(ours, network.decoder.encoder, image) == 0
    assert tuple(network(image)[0].shape) == (2, 5, 8, 16, 12)


def test_the_adaptation_plan_names_keys_that_the_checkpoint_has(tmp_path: Path) -> None:
    out = export(encoder_folder(tmp_path / "source"), "nnunet", tmp_path / "out")
    checkpoint = torch.load(out / "checkpoint.pth", weights_only=True)
    plan, weights = checkpoint["nnssl_adaptation_plan"], checkpoint["network_weights"]
    assert plan == read_json(out / "adaptation_plan.json")
    assert set(plan) == {
        "architecture_plans",
        "pretrain_plan",
        "pretrain_num_input_channels",
        "recommended_downstream_patchsize",
        "key_to_encoder",
        "key_to_stem",
        "keys_to_in_proj",
        "key_to_lpe",
    }
    for key in (plan["key_to_encoder"], plan["key_to_stem"]):
        assert any(name.startswith(f"{key}.") for name in weights)
    for key in plan["keys_to_in_proj"]:
        assert weights[f"{key}.weight"].shape[1] == plan["pretrain_num_input_channels"] == 2
    assert not any(".seg_layers." in name for name in weights)


def test_an_architecture_is_that_of_the_encoder() -> None:
    kwargs = architecture_of(ResencEncoder(in_channels=1, size="base"))["arch_kwargs"]
    # nnU-Net's ResEnc-L.
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert kwargs["n_blocks_per_stage"] == [1, 3, 4, 6, 6, 6]


def test_another_encoder_is_refused_by_nnunet(tmp_path: Path) -> None:
    source = encoder_folder(tmp_path / "source")
    values = read_json(source / "config.json")
    write_json(source / "config.json", values | {"architecture": {"name": "segresnet"}})
    with pytest.raises(CheckpointError, match="takes resenc encoders, found segresnet"):
        export(source, "nnunet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
    with pytest.raises(UserError, match="new, empty or an earlier export"):
        export(source, "state_dict", mine)
    assert (mine / "thesis.txt").exists()
    with pytest.raises(UserError, match="must not replace its source"):
        export(source, "state_dict", source)
    with pytest.raises(UserError, match="must not replace its source"):
        export(source, "state_dict", tmp_path)
    out = export(source, "state_dict", tmp_path / "out")
    export(source, "huggingface", out)
    assert not (out / "model.pt").exists()


def test_every_target_has_its_file() -> None:
    room = Path(__file__).parents[2] / "exchange"
    written = {path.stem.removeprefix("export_") for path in room.glob("export_*.py")}
    assert written - {"network"} == set(TARGETS)
