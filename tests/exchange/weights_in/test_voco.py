"""VoCo's key styles of both releases lead to the same encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import SwinUNETR
from torch import Tensor

from hilum.core.checkpoints import read_config
from hilum.exchange.weights_in.importing import import_weights

STYLES = {
    "flat": ("", {}),
    "module and swin_vit": ("module.", {"swinViT": "swin_vit"}),
    "backbone": ("backbone.", {}),
    "module and backbone": ("module.backbone.", {}),
    "student": ("student.backbone.", {}),
}


def published(network: SwinUNETR, style: str) -> dict[str, Tensor]:
    prefix, words = STYLES[style]
    state = {}
    for name, value in network.state_dict().items():
        for old, new in words.items():
            name = name.replace(old, new)
        if not name.startswith(("decoder", "out.")):
            state[prefix + name] = value
    return state


@pytest.mark.parametrize(
    ("style", "group"), [("flat", ""), *((style, "state_dict") for style in STYLES)]
)
def test_every_style_gives_the_features_of_the_second_swin_unetr(
    tmp_path: Path, equals, rebuilt, style: str, group: str
) -> None:
    network = SwinUNETR(in_channels=1, out_channels=2, feature_size=12, use_v2=True).eval()
    state = published(network, style)
    torch.save({group: state} if group else state, tmp_path / "VoCo_B_SSL_head.pt")
    folder, report = import_weights(
        "auto", tmp_path / "VoCo_B_SSL_head.pt", tmp_path / "e", modalities=["ct"]
    )
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        for ours, theirs in zip(rebuilt(folder)(x)[1:], network.swinViT(x, True), strict=True):
            equals(ours, theirs)
    config = read_config(folder)
    assert report.covered == 1
    assert config.architecture["v2"] is True
    assert config.spacing == (1.5, 1.5, 1.5) or config.extra["imported"]["source"] == "swin_unetr"


def test_the_larger_sizes_differ_in_width_alone(tmp_path: Path) -> None:
    network = SwinUNETR(in_channels=1, out_channels=2, feature_size=24, use_v2=True)
    torch.save(published(network, "backbone"), tmp_path / "v.pt")
    folder, _ = import_weights("voco", tmp_path / "v.pt", tmp_path / "e", modalities=["ct", "pet"])
    assert read_config(folder).architecture["width"] == 24
    assert read_config(folder).extra["imported"]["channels"]["inner.patch_embed.proj.weight"]
