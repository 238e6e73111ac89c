"""A file that lacks a part of its network, or has one that hilum's lacks, is told in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in import SOURCES
from hilum.exchange.weights_in.importing import import_weights, recipe_of
from hilum.exchange.weights_in.inspect import look
from hilum.exchange.weights_in.reading import read_foreign
from hilum.exchange.weights_in.source import Request

NAMES = [
    "ct_fm", "mae_pet_ct", "medicalnet", "models_genesis", "nnssl", "nnunet", "stunet", "suprem",
    "swin_unetr", "voco",
]  # fmt: skip
"""Sources that only look at names and sizes; the others build a network, or take any part."""


@pytest.mark.parametrize("name", NAMES)
def test_no_single_tensor_is_taken_for_granted(name: str, tmp_path: Path) -> None:
    file = SOURCES[name]().example(tmp_path)
    assert file is not None
    whole = read_foreign(file)
    told: list[CheckpointError] = []
    for gone in whole.tensors:
        rest = {key: value for key, value in whole.tensors.items() if key != gone}
        try:
            recipe_of(replace(whole, tensors=rest), Request(("ct",)), name)
        except CheckpointError as error:
            told.append(error)
    assert not [error for error in told if "\n" in str(error)]


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("stunet", "conv_blocks_context.1."),
        ("stunet", "conv_blocks_context.1.0.conv1.weight"),
        ("nnunet", "encoder.stages.1.blocks.0.conv1.conv.weight"),
    ],
)
def test_a_missing_stage_is_named(name: str, gone: str, tmp_path: Path) -> None:
    file = SOURCES[name]().example(tmp_path)
    assert file is not None
    tensors = read_foreign(file).tensors
    torch.save({k: v for k, v in tensors.items() if not k.startswith(gone)}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"the whole network.*found no '.*1\."):
        import_weights("auto", tmp_path / "part.pth", tmp_path / "o", modalities=["ct"])
    assert any("not as it is" in line for line in look(tmp_path / "part.pth"))


@pytest.mark.parametrize("about", [{"plans": "x"}, {"plans": {"configurations": 3}}])
def test_plans_that_are_no_mapping_are_an_error_of_the_file(about: Any, tmp_path: Path) -> None:
    file = SOURCES["nnunet"]().example(tmp_path)
    assert file is not None
    foreign = replace(read_foreign(file), about={"init_args": about})
    with pytest.raises(CheckpointError, match="whole network"):
        recipe_of(foreign, Request(("ct",)), "nnunet")


def test_a_decoder_with_more_than_ours_is_refused(tmp_path: Path) -> None:
    """Batch norms on the way up alone: the encoder is whole, and may be had without them."""

    def unet(norm: type[nn.Module]) -> dict[str, Any]:
        return PlainConvUNet(
            1, 2, [4, 8], nn.Conv3d, 3, [1, 2], 1, 2, 1, conv_bias=True,
            norm_op=norm, norm_op_kwargs={"eps": 1e-5, "affine": True},
        ).state_dict()  # fmt: skip

    down = {k: v for k, v in unet(nn.InstanceNorm3d).items() if k.startswith("encoder.")}
    up = {k: v for k, v in unet(nn.BatchNorm3d).items() if k.startswith("decoder.")}
    torch.save(down | up, tmp_path / "f.pth")
    with pytest.raises(CheckpointError, match=r"hilum's decoder must have every.*num_batches"):
        import_weights("auto", tmp_path / "f.pth", tmp_path / "o", modalities=["ct"], whole=True)
    assert not (tmp_path / "o").exists()
    _, report = import_weights("auto", tmp_path / "f.pth", tmp_path / "o", modalities=["ct"])
    assert report.covered == 1
