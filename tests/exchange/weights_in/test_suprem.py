"""SuPreM's files: the network in `net`, its names with one or two parts in front."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet, SwinUNETR

from hilum.core.checkpoints import read_config
from hilum.exchange.weights_in.importing import import_weights


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """As SuPreM's trainer saves."""
    content = {"net": state, "optimizer": {"state": {}}, "scheduler": {"last_epoch": 3}, "epoch": 3}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", ["module.backbone.", "backbone."])
def test_the_swin_unetr_is_the_first_version(tmp_path: Path, equals, rebuilt, prefix: str) -> None:
    network = SwinUNETR(in_channels=1, out_channels=2, feature_size=12, use_v2=False).eval()
    state = {prefix + name: value for name, value in network.state_dict().items()}
    state["module.organ_embedding" if "module" in prefix else "organ_embedding"] = torch.ones(2, 4)
    file = save(tmp_path / "supervised_suprem_swinunetr_2100.pth", state)
    folder, report = import_weights("auto", file, tmp_path / "e", modalities=["ct"])
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        for ours, theirs in zip(rebuilt(folder)(x)[1:], network.swinViT(x, True), strict=True):
            equals(ours, theirs)
    config = read_config(folder)
    assert config.architecture["v2"] is False
    assert config.extra["imported"]["source"] == "suprem"
    assert config.licence == "CC-BY-NC-ND-4.0"
    assert report.covered == 1


def test_the_segresnet_has_group_norm(tmp_path: Path, equals, rebuilt) -> None:
    network = SegResNet(
        spatial_dims=3, init_filters=16, blocks_down=(1, 1), blocks_up=(1,), out_channels=3
    ).eval()
    state = {f"module.backbone.{name}": value for name, value in network.state_dict().items()}
    file = save(tmp_path / "supervised_suprem_segresnet_2100.pth", state)
    folder, report = import_weights("auto", file, tmp_path / "e", modalities=["ct"])
    assert report.covered == 1
    assert read_config(folder).architecture["norm"] == "group"
    x = torch.randn(1, 1, 8, 12, 16)
    for ours, theirs in zip(rebuilt(folder)(x), network.encode(x)[1], strict=True):
        equals(ours, theirs)
