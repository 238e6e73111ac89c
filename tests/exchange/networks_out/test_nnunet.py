"""nnU-Net's own code takes our encoders: by its function, and by nnssl's adaptation plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import Tensor, nn

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError
from hilum.core.files import read_json
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.exchange.networks_out.exporting import export
from hilum.exchange.networks_out.nnunet_networks import unet_kwargs
from hilum.exchange.weights_in.importing import import_weights

RESIDUAL: dict[str, Any] = {
    "name": "resenc",
    "features": [4, 8, 12],
    "blocks": [1, 2, 1],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}
PLAIN: dict[str, Any] = {
    "name": "plainconv",
    "features": [4, 8, 12],
    "convolutions": [1, 2, 2],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}
PRIMUS: dict[str, Any] = {"name": "primus", "size": "small", "trained": [16, 24, 32]}
PATCH = (16, 24, 32)


def encoder_folder(
    folder: Path, architecture: dict[str, Any], **more: Any
) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    made = build(ENCODERS, architecture, in_channels=2).eval()
    values = {
        "architecture": architecture,
        "modalities": ("ct", "pet"),
        "spacing": (3.0, 2.0, 2.0),
        "patch": PATCH,
        "licence": "CC-BY-4.0",
    }
    return made, save_encoder(folder, made, validate(EncoderConfig, values | more))


def like_nnunet(file: Path, channels: int = 2) -> nn.Module:
    """Do what `nnUNetv2_preprocess_like_nnssl` and `nnUNetv2_train_pretrained` do with a file.

    Written after nnU-Net's commit 0e49508: keys that it reads, the network that it builds, the two
    parts that it loads strictly.
    """
    content = torch.load(file, weights_only=True)
    plan = content["nnssl_adaptation_plan"]
    pretrained = next(iter(plan["pretrain_plan"]["configurations"].values()))
    assert len(pretrained["spacing"]) == len(pretrained["patch_size"]) == 3
    how = plan["architecture_plans"]
    if how["arch_class_name"].endswith(("PlainConvUNet", "ResidualEncoderUNet")):
        network = get_network_from_plans(
            how["arch_class_name"], how["arch_kwargs"], how["arch_kwargs_requiring_import"],
            channels, 5, allow_init=True, deep_supervision=False,
        )  # fmt: skip
    else:
        from dynamic_network_architectures.architectures import primus

        network = getattr(primus, how["arch_class_name"])(
            channels, 5, (8, 8, 8), tuple(plan["recommended_downstream_patchsize"])
        )
    weights = content["network_weights"]
    for part in ("encoder", "stem"):
        key = getattr(network, f"key_to_{part}")
        there = plan[f"key_to_{part}"]
        own = {k.replace(there, "")[1:]: v for k, v in weights.items() if k.startswith(there)}
        network.get_submodule(key).load_state_dict(own)
    if getattr(network, "key_to_lpe", None):
        (places,) = [v for k, v in weights.items() if k.startswith(plan["key_to_lpe"])]
        network.get_parameter(network.key_to_lpe).data = places
    return network.eval()


def tokens(network: nn.Module, image: Tensor) -> Tensor:
    small = network.get_submodule("down_projection")(image)
    found = network.get_submodule("eva")(small.flatten(2).transpose(1, 2))[0]
    return found.transpose(1, 2).reshape(small.shape)


unets = pytest.mark.parametrize("architecture", [RESIDUAL, PLAIN], ids=lambda spec: spec["name"])


@unets
def test_nnunets_own_function_loads_our_encoder(
    tmp_path: Path, architecture: dict[str, Any]
) -> None:
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    ours, source = encoder_folder(tmp_path / "source", architecture)
    out = export(source, "nnunet", tmp_path / "out")
    plan = read_json(out / "architecture.json")
    torch.manual_seed(7)
    network: Any = get_network_from_plans(
        plan["network_class_name"], plan["arch_kwargs"], plan["_kw_requires_import"],
        input_channels=2, output_channels=5, deep_supervision=True,
    )  # fmt: skip
    image = torch.randn(2, 2, 8, 16, 12)
    assert any(
        not torch.equal(a, b) for a, b in zip(ours(image), network.encoder(image), strict=True)
    )
    load_pretrained_weights(network, str(out / "checkpoint.pth"))
    for part in (network.encoder, network.decoder.encoder):
        assert all(torch.equal(a, b) for a, b in zip(ours(image), part(image), strict=True))
    assert tuple(network(image)[0].shape) == (2, 5, 8, 16, 12)


@unets
def test_the_plan_leads_nnunet_to_our_encoder(tmp_path: Path, architecture: dict[str, Any]) -> None:
    """Stages, strides and all: a class name alone would give the fixed ResEnc-L."""
    ours, source = encoder_folder(tmp_path / "source", architecture)
    out = export(source, "nnunet", tmp_path / "out")
    network: Any = like_nnunet(out / "checkpoint.pth")
    image = torch.randn(2, 2, 8, 16, 12)
    for one, other in zip(ours(image), network.encoder(image), strict=True):
        assert torch.equal(one, other)


def test_the_plan_leads_nnunet_to_our_primus(tmp_path: Path) -> None:
    ours, source = encoder_folder(tmp_path / "source", PRIMUS)
    out = export(source, "nnunet", tmp_path / "out")
    image = torch.randn(1, 2, *PATCH)
    with torch.no_grad():
        found = tokens(like_nnunet(out / "checkpoint.pth"), image)
        torch.testing.assert_close(ours(image)[-1], found, rtol=0, atol=1e-5)
    assert read_json(out / "export.json")["largest_difference"] < 1e-5
    assert not (out / "architecture.json").exists()


@unets
def test_our_own_import_reads_the_checkpoint_again(
    tmp_path: Path, architecture: dict[str, Any]
) -> None:
    _, source = encoder_folder(tmp_path / "source", architecture)
    out = export(source, "nnunet", tmp_path / "out")
    folder, report = import_weights(
        "auto", out / "checkpoint.pth", tmp_path / "back", modalities=["ct", "pet"]
    )
    assert report.covered == 1
    before, after = read_weights(source), read_weights(folder)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert read_json(folder / "config.json")["spacing"] == [3, 2, 2]


def test_the_plan_names_keys_that_the_checkpoint_has(tmp_path: Path) -> None:
    _, source = encoder_folder(tmp_path / "source", RESIDUAL)
    out = export(source, "nnunet", tmp_path / "out")
    content = torch.load(out / "checkpoint.pth", weights_only=True)
    plan, weights = content["nnssl_adaptation_plan"], content["network_weights"]
    assert plan == read_json(out / "adaptation_plan.json")
    for key in plan["keys_to_in_proj"]:
        assert weights[f"{key}.weight"].shape[1] == plan["pretrain_num_input_channels"] == 2
    assert not any(".seg_layers." in name for name in weights)


def test_base_is_nnunets_resenc_l() -> None:
    with torch.device("meta"):
        encoder = build(ENCODERS, {"name": "resenc", "size": "base"}, in_channels=1)
    kwargs = unet_kwargs(encoder)
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert kwargs["n_blocks_per_stage"] == [1, 3, 4, 6, 6, 6]


def test_encoders_that_nnunet_lacks_are_refused(tmp_path: Path) -> None:
    _, source = encoder_folder(tmp_path / "source", {"name": "unet3d", "features": 4})
    with pytest.raises(
        CheckpointError, match="take resenc, plainconv and primus encoders, found unet3d"
    ):
        export(source, "nnunet", tmp_path / "out")
    odd = {**PRIMUS, "width": 48, "depth": 2, "heads": 4}
    _, source = encoder_folder(tmp_path / "odd", odd)
    with pytest.raises(CheckpointError, match=r"no other Primus.*width 48, depth 2, heads 4"):
        export(source, "nnunet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("architecture", [RESIDUAL, PLAIN, PRIMUS], ids=lambda spec: spec["name"])
def test_nnunets_pretrained_trainer_builds_and_fills_its_network(
    tmp_path: Path, architecture: dict[str, Any]
) -> None:
    """With an nnU-Net that has `nnUNetv2_train_pretrained`, newer than 2.8.1."""
    module = pytest.importorskip("nnunetv2.training.nnUNetTrainer.pretraining.pretrainedTrainer")
    ours, source = encoder_folder(tmp_path / "source", architecture)
    file = export(source, "nnunet", tmp_path / "out") / "checkpoint.pth"
    plan = torch.load(file, weights_only=True)["nnssl_adaptation_plan"]
    how, trainer = plan["architecture_plans"], module.PretrainedTrainer
    network = trainer.build_network_architecture(
        how["arch_class_name"], how["arch_kwargs"], how["arch_kwargs_requiring_import"],
        plan["recommended_downstream_patchsize"], 2, 5, False,
    )  # fmt: skip
    configuration = next(iter(plan["pretrain_plan"]["configurations"].values()))
    network, mismatch = trainer.load_pretrained_weights(
        network, str(file), plan["pretrain_num_input_channels"], 2, configuration["patch_size"],
        plan["recommended_downstream_patchsize"], plan["key_to_encoder"], plan["key_to_stem"],
        tuple(plan["keys_to_in_proj"]), plan["key_to_lpe"],
    )  # fmt: skip
    image = torch.randn(1, 2, *PATCH)
    network.eval()
    with torch.no_grad():
        found = [tokens(network, image)] if architecture is PRIMUS else network.encoder(image)
        for one, other in zip(ours(image)[-len(found) :], found, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert not mismatch


@pytest.mark.parametrize(
    ("intensity", "said"),
    [
        ({}, "is not on record"),
        ({"ct": {"scale": "window"}, "pet": {"scale": "log"}}, "not by nnU-Net's z-score."),
        ({"ct": {"scale": "zscore"}, "pet": {"scale": "log"}}, "but for ct, which were z-scores"),
        ({"ct": {"scale": "zscore"}, "pet": {"scale": "zscore"}}, "as nnU-Net makes them"),
    ],
)
def test_the_folder_says_on_which_scale_the_encoder_was_trained(
    tmp_path: Path, intensity: dict[str, Any], said: str
) -> None:
    _, source = encoder_folder(tmp_path / "source", RESIDUAL, intensity=intensity)
    out = export(source, "nnunet", tmp_path / "out")
    assert said in (out / "README.md").read_text("utf-8")


def test_features_that_are_no_numbers_are_no_equal_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = encoder_folder(tmp_path / "source", RESIDUAL)
    lost = torch.full((1, 2, *PATCH), float("nan"))
    monkeypatch.setattr("hilum.exchange.networks_out.nnunet.torch.rand", lambda *_: lost)
    with pytest.raises(CheckpointError, match="must equal ours"):
        export(source, "nnunet", tmp_path / "out")
