"""CT-FM's SegResNet encoder, and other SegResNets that MONAI saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet, SegResNetDS
from safetensors.torch import save_file

from hilum.core.checkpoints import read_config
from hilum.exchange.weights_in.importing import import_weights


def segres(norm: str) -> SegResNetDS:
    network = SegResNetDS(init_filters=4, blocks_down=(1, 2, 1), norm=norm).eval()
    for name, value in network.named_buffers():
        if name.endswith("running_mean"):
            value.uniform_(-0.1, 0.1)
    return network


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder.", "backbone."])
def test_an_instance_normalised_encoder_gives_its_features(
    tmp_path: Path, equals, rebuilt, prefix: str
) -> None:
    network = segres("instance")
    state = {prefix + name: value for name, value in network.encoder.state_dict().items()}
    save_file(state | {"head.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"init_filters": 4}))
    folder, report = import_weights("auto", tmp_path, tmp_path / "e", modalities=["ct"])
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder._forward(x), strict=True):
        equals(ours, theirs)
    assert report.covered == 1
    assert report.unexpected == ["head.weight"]


def test_ct_fms_batch_norm_is_kept(tmp_path: Path, equals, rebuilt) -> None:
    network = segres("batch")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "ct_fm.ckpt")
    folder, report = import_weights(
        "auto", tmp_path / "ct_fm.ckpt", tmp_path / "e", modalities=["ct"]
    )
    config = read_config(folder)
    assert report.covered == 1
    assert any("SPL" in note for note in config.extra["imported"]["notes"])
    assert config.architecture["norm"] == "batch"
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder._forward(x), strict=True):
        equals(ours, theirs)


def test_the_older_network_is_read_though_its_levels_begin_with_the_stride(
    tmp_path: Path, equals, rebuilt
) -> None:
    network = SegResNet(
        spatial_dims=3, init_filters=8, blocks_down=(1, 2, 1), blocks_up=(1, 1),
        norm=("INSTANCE", {"affine": True}),
    ).eval()  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "old.pt")
    folder, report = import_weights(
        "auto", tmp_path / "old.pt", tmp_path / "e", modalities=["ct"],
        architecture={"norm": "instance"},
    )  # fmt: skip
    x = torch.randn(1, 1, 8, 12, 16)
    _, down = network.encode(x)
    for ours, theirs in zip(rebuilt(folder)(x), down, strict=True):
        equals(ours, theirs)
    assert {name.split("_")[0] for name in report.unexpected} == {"up", "conv"}
