"""What `import-weights --whole` makes of another tool's network starts a segmenter as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.testing import assert_close

from hilum.core.settings import validate
from hilum.encoders.networks import read_network_config
from hilum.exchange.weights_in.importing import import_weights
from hilum.finetune.transfer.load import transfer
from hilum.finetune.transfer.settings import TransferSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter


def test_an_nnunet_segments_as_it_did(
    config: Callable[..., SegmenterConfig], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = PlainConvUNet(
        2, 3, [4, 8, 8], nn.Conv3d, 3, [1, 2, 2], [2, 1, 2], 2, [2, 1], conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, deep_supervision=True,
    )  # fmt: skip
    labels = {"labels": {"background": 0, "lesion": 1}, "channel_names": {"0": "CT", "1": "PET"}}
    args = {"plans": {}, "configuration": "", "dataset_json": labels}
    file = {"network_weights": theirs.state_dict(), "init_args": args}
    torch.save(file, tmp_path / "checkpoint.pth")
    folder, _ = import_weights(
        "auto", tmp_path / "checkpoint.pth", tmp_path / "net", modalities=("ct", "pet"), whole=True
    )
    about = read_network_config(folder)
    decoder = {k: v for k, v in about.decoder.items() if k != "deep_supervision"}
    ours = Segmenter(config(encoder=about.encoder.architecture, decoder=decoder)).eval()
    chosen = {"parts": "whole", "classes": {"node": "lesion"}}
    report = transfer(ours, folder, validate(TransferSettings, chosen))
    assert report.whole
    image, available = torch.randn(2, 2, 8, 12, 16), torch.ones(2, 2, dtype=torch.bool)
    for one, other in zip(ours(image, available), theirs(image), strict=True):
        assert_close(one, other, rtol=0, atol=1e-5)
    again = Segmenter.from_pretrained(ours.save(tmp_path / "segmenter"))
    assert_close(again(image, available)[0], theirs(image)[0], rtol=0, atol=1e-5)
