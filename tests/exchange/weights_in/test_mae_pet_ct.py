"""MAE for PET/CT: strides, spacing and scale; `test_whole.py` compares its logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from hilum.encoders.networks import read_network
from hilum.exchange.weights_in.importing import import_weights

STEPS: Any = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def test_strides_are_read_from_the_decoder_without_plans(tmp_path: Path) -> None:
    network = PlainConvUNet(
        2, 3, [4, 8, 8], nn.Conv3d, 3, STEPS, [2, 1, 2], 2, [2, 1], conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU,
    )  # fmt: skip
    torch.save(
        {f"nnunet.{name}": value for name, value in network.state_dict().items()},
        tmp_path / "file.pth",
    )
    folder, _ = import_weights(
        "mae_pet_ct", tmp_path / "file.pth", tmp_path / "out", modalities=("ct", "pet"), whole=True
    )
    about = read_network(folder).config.encoder
    assert about.architecture["strides"] == STEPS
    assert about.spacing == (3.0, 2.0, 2.0)
    assert about.intensity == {
        "ct": {"unit": "HU", "scale": "zscore"},
        "pet": {"unit": "SUV", "scale": "zscore"},
    }
