"""nnU-Net's checkpoints, saved by its own trainer class, become encoders."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.importing import import_weights

KWARGS: dict[str, Any] = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_blocks_per_stage": [1, 1, 2],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
UNET = "dynamic_network_architectures.architectures.unet."
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset999_Toy",
    "plans_name": "nnUNetResEncUNetMPlans",
    "original_median_spacing_after_transp": [3.0, 1.5, 1.0],
    "original_median_shape_after_transp": [8, 12, 16],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "experiment_planner_used": "nnUNetPlannerResEncM",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {},
    "configurations": {
        "3d_fullres": {
            "data_identifier": "x",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [8, 12, 16],
            "spacing": [3.0, 1.5, 1.0],
            "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
            "use_mask_for_norm": [False, False],
            "batch_dice": False,
            "architecture": {
                "network_class_name": UNET + "ResidualEncoderUNet",
                "arch_kwargs": KWARGS,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        },
        "3d_plain": {
            "inherits_from": "3d_fullres",
            "architecture": {
                "network_class_name": UNET + "PlainConvUNet",
                "arch_kwargs": {
                    **{k: v for k, v in KWARGS.items() if k != "n_blocks_per_stage"},
                    "n_conv_per_stage": [1, 1, 2],
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        },
        "3d_child": {"inherits_from": "3d_fullres", "batch_size": 3},
    },
}


def dataset(*channels: str) -> dict[str, Any]:
    return {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "node": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let nnU-Net's trainer build and save a network; gives that network."""
    monkeypatch.setenv("nnUNet_compile", "f")

    def train(path: Path, *channels: str, configuration: str = "3d_fullres") -> Any:
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        for name in ("nnUNet_results", "nnUNet_preprocessed"):
            monkeypatch.setenv(name, str(tmp_path / name))
        trainer = nnUNetTrainer(
            {**copy.deepcopy(PLANS), "continue_training": False},
            configuration,
            0,
            dataset(*channels),
            torch.device("cpu"),
        )
        trainer.network = trainer.build_network_architecture(
            trainer.plans_manager, trainer.configuration_manager, len(channels), 2, True
        )
        trainer.optimizer, _ = trainer.configure_optimizers()
        trainer._best_ema = np.float32(0.5)  # real checkpoints hold numpy's numbers
        trainer.save_checkpoint(str(path))
        return trainer.network.eval()

    return train


def test_the_encoder_of_a_checkpoint_gives_nnunets_features(
    tmp_path: Path, equals, rebuilt, trained
) -> None:
    """Kernels of 1 x 3 x 3 are put in the middle of zeros, which computes the same."""
    network = trained(tmp_path / "checkpoint_final.pth", "CT", "PET")
    folder, report = import_weights(
        "auto", tmp_path / "checkpoint_final.pth", tmp_path / "enc", modalities=["ct", "pet"]
    )
    x = torch.randn(1, 2, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder(x), strict=True):
        equals(ours, theirs)
    config = read_config(folder)
    assert report.covered == 1
    assert config.spacing == (3, 1.5, 1)
    assert config.patch == (8, 12, 16)
    assert config.extra["imported"]["source"] == "nnunet"
    assert "1x3x3 to 3x3x3" in report.adapted["inner.stem.convs.0.conv.weight"]


def test_channels_are_taken_by_the_names_in_the_file(
    tmp_path: Path, equals, rebuilt, trained
) -> None:
    network = trained(tmp_path / "c.pth", "CT", "PET", configuration="3d_child")
    folder, report = import_weights("auto", tmp_path / "c.pth", tmp_path / "e", modalities=["pet"])
    x = torch.randn(1, 1, 8, 12, 16)
    wanted = network.encoder(torch.cat([torch.zeros_like(x), x], 1))
    for ours, theirs in zip(rebuilt(folder)(x), wanted, strict=True):
        equals(ours, theirs)
    assert "channels pet of ct, pet" in report.adapted["inner.stem.convs.0.conv.weight"]
    assert read_config(folder).spacing == (3, 1.5, 1)  # what the configuration inherits


def test_a_wrong_number_of_channels_is_one_clear_error(tmp_path: Path, trained) -> None:
    trained(tmp_path / "c.pth", "CT", "T1", "T2")
    with pytest.raises(CheckpointError, match=r"3 channels, 2 modalities \(ct, pet\)"):
        import_weights("auto", tmp_path / "c.pth", tmp_path / "e", modalities=["ct", "pet"])
    assert not (tmp_path / "e").exists()


def test_the_default_unet_gives_nnunets_features(tmp_path: Path, equals, rebuilt, trained) -> None:
    """What most published models are: plain convolutions, some of 1 x 3 x 3."""
    network = trained(tmp_path / "c.pth", "CT", configuration="3d_plain")
    assert isinstance(network, PlainConvUNet)
    folder, report = import_weights("auto", tmp_path / "c.pth", tmp_path / "e", modalities=["ct"])
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder(x), strict=True):
        equals(ours, theirs)
    assert report.covered == 1
    assert all(name.startswith("decoder.") for name in report.unexpected)
    assert read_config(folder).architecture == {
        "name": "plainconv", "features": [4, 8, 8], "convolutions": [1, 1, 2],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    }  # fmt: skip


def test_a_flat_file_of_the_default_unet_has_no_plans_and_the_strides_of_its_decoder(
    tmp_path: Path,
) -> None:
    """As VoCo publishes its nnU-Net."""
    network = PlainConvUNet(
        1, 2, [4, 8], nn.Conv3d, 3, [1, 2], 1, 2, 1, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
    )  # fmt: skip
    torch.save({"network_weights": network.state_dict()}, tmp_path / "p.pth")
    folder, report = import_weights("auto", tmp_path / "p.pth", tmp_path / "e", modalities=["ct"])
    assert report.covered == 1
    assert read_config(folder).architecture["strides"] == [[1, 1, 1], [2, 2, 2]]
    assert read_config(folder).intensity == {}


def test_channels_that_were_zscored_are_matched_by_name(tmp_path: Path) -> None:
    network = PlainConvUNet(
        2, 2, [4, 8], nn.Conv3d, 3, [1, 2], 1, 2, 1, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
    )  # fmt: skip
    schemes = {"normalization_schemes": ["CTNormalization", "ZScoreNormalization"]}
    args = {
        "plans": {"configurations": {"3d": schemes}}, "configuration": "3d",
        "dataset_json": {"channel_names": {"0": "CT", "1": "PET"}},
    }  # fmt: skip
    file = {"network_weights": network.state_dict(), "init_args": args}
    torch.save(file, tmp_path / "p.pth")
    for order in (["ct", "pet"], ["pet", "ct"]):
        folder, _ = import_weights(
            "auto", tmp_path / "p.pth", tmp_path / "-".join(order), modalities=order
        )
        about = read_config(folder)
        assert about.intensity == {"pet": {"unit": "SUV", "scale": "zscore"}}
        notes = about.extra["imported"]["notes"]
        assert any("scaled channels by CTNormalization;" in note for note in notes)


def test_strides_are_read_from_plans_of_before_2_4(tmp_path: Path, equals, rebuilt) -> None:
    """TotalSegmentator's and other models of 2023 have no `architecture` in their plans."""
    strides: list[Any] = [[1, 1, 1], [1, 2, 2]]
    network: Any = PlainConvUNet(
        1, 2, [4, 8], nn.Conv3d, 3, strides, 2, 2, 1, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    ).eval()  # fmt: skip
    configuration = {
        "pool_op_kernel_sizes": strides, "conv_kernel_sizes": [[3, 3, 3]] * 2,
        "patch_size": [8, 12, 16], "spacing": [3.0, 1.5, 1.5], "UNet_class_name": "PlainConvUNet",
    }  # fmt: skip
    plans = {"configurations": {"3d_fullres": configuration}}
    args = {"plans": plans, "configuration": "3d_fullres", "dataset_json": dataset("CT")}
    content = {"network_weights": network.state_dict(), "init_args": args}
    torch.save(content, tmp_path / "old.pth")
    folder, _ = import_weights("auto", tmp_path / "old.pth", tmp_path / "e", modalities=["ct"])
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder(x), strict=True):
        equals(ours, theirs)
    assert read_config(folder).architecture["strides"] == strides
