"""nnssl's checkpoints become encoders with the features of the network that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.primus import Primus
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn
from torch.testing import assert_close

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.importing import import_weights

STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def unet(channels: int = 1) -> ResidualEncoderUNet:
    return ResidualEncoderUNet(
        channels, 3, [4, 8, 12], nn.Conv3d, 3, STRIDES, [1, 2, 1], 1, [1, 1],
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    ).eval()  # fmt: skip


def primus() -> Primus:
    return Primus(
        1, 48, (8, 8, 8), 1, eva_depth=2, eva_numheads=4, input_shape=(16, 24, 32),
        init_values=0.1, scale_attn_inner=True,
    ).eval()  # fmt: skip


def plan(**architecture: Any) -> dict[str, Any]:
    """An adaptation plan with the keys that nnssl serialises."""
    return {
        "architecture_plans": {"arch_class_name": "ResEncL", "arch_kwargs": None, **architecture},
        "pretrain_plan": {
            "configurations": {"spacing": [3.0, 1.0, 1.0], "patch_size": [16, 24, 32]}
        },
        "pretrain_num_input_channels": 1,
        "recommended_downstream_patchsize": [160, 160, 160],
        "key_to_encoder": "encoder.stages",
        "key_to_stem": "encoder.stem",
        "keys_to_in_proj": ["encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"],
        "key_to_lpe": None,
    }


def save(path: Path, network: nn.Module, **more: Any) -> Path:
    """As nnssl's trainer saves, the optimiser left empty."""
    content = {
        "network_weights": network.state_dict(),
        "optimizer_state": {"state": {}, "param_groups": []},
        "grad_scaler_state": None,
        "logging": {"val_losses": [0.5]},
        "_best_ema": 0.5,
        "current_epoch": 3,
        "init_args": {"plan": {}, "fold": "all"},
        "trainer_name": "BaseMAETrainer_BS8",
        **more,
    }
    torch.save(content, path)
    return path


def with_strides() -> dict[str, Any]:
    return plan(arch_class_name="ResidualEncoderUNet", arch_kwargs={"strides": STRIDES})


def test_a_residual_encoder_gives_the_features_of_the_saved_network(
    tmp_path: Path, equals, rebuilt
) -> None:
    network = unet()
    file = save(tmp_path / "a.pth", network, nnssl_adaptation_plan=with_strides())
    folder, report = import_weights("auto", file, tmp_path / "enc", modalities=["ct"])
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder(x), strict=True):
        equals(ours, theirs)
    config = read_config(folder)
    assert report.covered == 1
    assert not report.missing
    assert config.spacing == (3, 1, 1)
    assert config.extra["imported"]["source"] == "nnssl"
    assert (folder / "load_report.json").is_file()


def test_both_names_of_a_convolution_and_the_decoders_copy_are_no_leftovers(
    tmp_path: Path,
) -> None:
    """The state dict repeats the encoder under `decoder.encoder.` and `.all_modules.`."""
    network = unet()
    names = list(network.state_dict())
    assert any(name.startswith("decoder.encoder.") for name in names)
    assert any(".all_modules." in name for name in names)
    file = save(tmp_path / "a.pth", network, nnssl_adaptation_plan=with_strides())
    _, report = import_weights("nnssl", file, tmp_path / "enc", modalities=["ct"])
    assert all(name.startswith("decoder.") for name in report.unexpected)
    assert not any("decoder.encoder." in name for name in report.unexpected)


@pytest.mark.parametrize("channels", ["repeat", "per_modality", "first"])
def test_one_channel_becomes_two_under_both_names_of_the_stem(
    tmp_path: Path, equals, rebuilt, channels
) -> None:
    network = unet()
    file = save(tmp_path / "a.pth", network, nnssl_adaptation_plan=with_strides())
    folder, report = import_weights(
        "auto", file, tmp_path / "enc", modalities=["ct", "pet"], channels=channels
    )
    x, none = torch.randn(1, 1, 8, 12, 16), torch.zeros(1, 1, 8, 12, 16)
    image = torch.cat([x, x] if channels == "repeat" else [x, none], 1)
    for ours, theirs in zip(rebuilt(folder)(image), network.encoder(x), strict=True):
        equals(ours, theirs)
    assert list(report.adapted) == ["inner.stem.convs.0.conv.weight"]
    assert "[4, 1, 3, 3, 3] to [4, 2, 3, 3, 3]" in report.adapted["inner.stem.convs.0.conv.weight"]
    assert read_config(folder).extra["imported"]["channels"]


def test_a_file_of_s3d_without_a_plan_is_read_and_the_lack_is_told(tmp_path: Path) -> None:
    """SparkTrainer writes no plan, but a second group of weights."""
    network = unet()
    spark = {f"architecture.{name}": value for name, value in network.state_dict().items()}
    file = save(tmp_path / "s3d.pth", network, spark_weights=spark)
    folder, report = import_weights("auto", file, tmp_path / "enc", modalities=["ct"])
    imported = read_config(folder).extra["imported"]
    assert "S3D" in imported["why"]
    assert any("no adaptation plan" in note for note in imported["notes"])
    assert read_config(folder).intensity == {"ct": {"unit": "HU", "scale": "zscore"}}
    assert report.covered == 1
    assert read_config(folder).architecture["strides"] == STRIDES


@pytest.mark.parametrize(
    ("scheme", "alone"), [("ZScoreNormalization", True), ("NoNormalization", False)]
)
def test_the_plan_says_whether_volumes_were_zscored(
    tmp_path: Path, scheme: str, alone: bool
) -> None:
    told = with_strides()
    told["pretrain_plan"]["configurations"]["normalization_schemes"] = [scheme]
    file = save(tmp_path / "a.pth", unet(), nnssl_adaptation_plan=told)
    folder, _ = import_weights("auto", file, tmp_path / "enc", modalities=["ct", "pet"])
    scale = {"ct": {"unit": "HU", "scale": "zscore"}, "pet": {"unit": "SUV", "scale": "zscore"}}
    assert read_config(folder).intensity == (scale if alone else {})


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "_orig_mod."])
def test_a_primus_gives_the_tokens_of_the_saved_network(
    tmp_path: Path, equals, rebuilt, prefix: str
) -> None:
    """Contrastive variants put `encoder.` before; rotary buffers are left out."""
    network = primus()
    file = tmp_path / "p.pth"
    state = {prefix + name: value for name, value in network.state_dict().items()}
    state[f"{prefix}eva.rope.periods"] = torch.ones(4)
    torch.save({"network_weights": state, "nnssl_adaptation_plan": plan()}, file)
    folder, report = import_weights(
        "auto", file, tmp_path / "enc", modalities=["ct"], architecture={"heads": 4}
    )
    x = torch.randn(1, 1, 16, 24, 32)
    tokens = network.eva(network.down_projection(x).flatten(2).transpose(1, 2))[0]
    wanted = tokens.transpose(1, 2).unflatten(2, (2, 3, 4))
    equals(rebuilt(folder)(x)[-1], wanted)
    assert report.covered == 1
    assert all(name.startswith("pyramid.") for name in report.fresh)
    assert read_config(folder).architecture["trained"] == [16, 24, 32]


def test_positions_are_resized_to_another_grid_as_nnunet_does(tmp_path: Path, rebuilt) -> None:
    """Trilinear over the grid of tokens, written out here."""
    network = primus()
    file = tmp_path / "p.pth"
    torch.save({"network_weights": network.state_dict(), "nnssl_adaptation_plan": plan()}, file)
    folder, report = import_weights(
        "auto", file, tmp_path / "enc", modalities=["ct"],
        architecture={"heads": 4, "trained": [32, 24, 16]},
    )  # fmt: skip
    old = network.eva.pos_embed.detach().reshape(1, 2, 3, 4, 48).permute(0, 4, 1, 2, 3)
    new = nn.functional.interpolate(old, (4, 3, 2), mode="trilinear")
    found = rebuilt(folder).state_dict()["inner.eva.pos_embed"]
    assert_close(found, new.permute(0, 2, 3, 4, 1).reshape(1, 24, 48), rtol=0, atol=1e-6)
    assert report.adapted["inner.eva.pos_embed"] == "positions 2x3x4 to 4x3x2, trilinear"


def test_the_heads_of_an_unpublished_primus_must_be_told(tmp_path: Path) -> None:
    file = tmp_path / "p.pth"
    torch.save({"network_weights": primus().state_dict()}, file)
    with pytest.raises(CheckpointError, match=r"heads.*width 48, depth 2"):
        import_weights("nnssl", file, tmp_path / "enc", modalities=["ct"])


def test_a_plan_that_exchanges_axes_is_turned_back(tmp_path: Path, equals, rebuilt) -> None:
    network, planned = unet(), with_strides()
    planned["pretrain_plan"]["transpose_forward"] = [2, 0, 1]
    file = save(tmp_path / "a.pth", network, nnssl_adaptation_plan=planned)
    folder, _ = import_weights("auto", file, tmp_path / "enc", modalities=["ct"])
    x = torch.randn(1, 1, 8, 12, 16)
    seen = network.encoder(x.permute(0, 1, 4, 2, 3))
    for ours, theirs in zip(rebuilt(folder)(x), seen, strict=True):
        equals(ours, theirs.permute(0, 1, 3, 4, 2))
    assert read_config(folder).spacing == (1, 1, 3)
    file = save(tmp_path / "p.pth", primus(), nnssl_adaptation_plan=planned)
    with pytest.raises(CheckpointError, match="a Primus must have the axes of the image"):
        import_weights("auto", file, tmp_path / "p", modalities=["ct"])
