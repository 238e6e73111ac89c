"""Swin UNETR's files in every style become encoders with the transformer's features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import SwinUNETR
from torch import Tensor
from torch.testing import assert_close

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.importing import import_weights


def swin(channels: int = 1, v2: bool = False) -> SwinUNETR:
    return SwinUNETR(in_channels=channels, out_channels=2, feature_size=12, use_v2=v2).eval()


def published(network: SwinUNETR) -> dict[str, Tensor]:
    """The names of model_swinvit.pt: no swinViT, MLPs of fc1 and fc2, heads of the pretext."""
    state = {
        "module." + name.removeprefix("swinViT.").replace("mlp.linear", "mlp.fc"): value
        for name, value in network.state_dict().items()
        if name.startswith("swinViT.")
    }
    return state | {
        "module.norm.weight": torch.ones(192),
        "module.rotation_head.weight": torch.ones(4, 192),
    }


def same(
    equals, encoder: torch.nn.Module, network: SwinUNETR, image: Tensor, source: Tensor
) -> None:
    wanted = network.swinViT(source, True)
    for ours, theirs in zip(encoder(image)[1:], wanted, strict=True):
        equals(ours, theirs)


@pytest.mark.parametrize("channels", ["repeat", "first", "per_modality"])
def test_model_swinvit_gives_the_features_of_monais_own_loader(
    tmp_path: Path, equals, rebuilt, channels
) -> None:
    network, loaded = swin(), swin()
    torch.save({"state_dict": published(network)}, tmp_path / "model_swinvit.pt")
    loaded.load_from({"state_dict": published(network)})
    folder, report = import_weights(
        "auto", tmp_path / "model_swinvit.pt", tmp_path / "e", modalities=["ct", "pet"],
        channels=channels,
    )  # fmt: skip
    x = torch.randn(1, 1, 32, 32, 32)
    image = torch.cat([x, x if channels == "repeat" else torch.zeros_like(x)], 1)
    with torch.no_grad():
        same(equals, rebuilt(folder), loaded, image, x)
    assert report.covered == 1
    assert not report.missing
    assert set(report.unexpected) == {"norm.weight", "rotation_head.weight"}
    assert read_config(folder).extra["imported"]["source"] == "swin_unetr"


def test_the_stem_is_not_broadcast_in_silence(tmp_path: Path, rebuilt) -> None:
    """MONAI's loader copies [n,1,...] into [n,2,...]: images that are alike count twice."""
    network, theirs = swin(), swin(2)
    theirs.load_from({"state_dict": published(network)})
    torch.save({"state_dict": published(network)}, tmp_path / "m.pt")
    folder, _ = import_weights("auto", tmp_path / "m.pt", tmp_path / "e", modalities=["ct", "pet"])
    ours = rebuilt(folder).state_dict()["inner.patch_embed.proj.weight"]
    assert_close(ours * 2, theirs.swinViT.patch_embed.proj.weight.detach())


def test_a_whole_network_of_monai_is_read_and_its_decoder_left(
    tmp_path: Path, equals, rebuilt
) -> None:
    network = swin()
    torch.save(network.state_dict(), tmp_path / "swin.pt")
    folder, report = import_weights("auto", tmp_path / "swin.pt", tmp_path / "e", modalities=["ct"])
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        same(equals, rebuilt(folder), network, x, x)
    assert {name.split(".")[0] for name in report.unexpected} == {
        *(f"encoder{n}" for n in (2, 3, 4, 10)), *(f"decoder{n}" for n in range(1, 6)), "out",
    }  # fmt: skip


def test_the_names_of_disrupted_autoencoders_are_those_that_monai_filters(
    tmp_path: Path, equals, rebuilt
) -> None:
    """The independent reference is `filter_swinunetr` itself."""
    from monai.networks.nets.swin_unetr import filter_swinunetr

    network = swin()
    theirs = {
        "encoder."
        + name.removeprefix("swinViT.")
        .replace(".0.blocks", ".0.0.blocks")
        .replace(".0.downsample", ".0.0.downsample"): value
        for name, value in network.state_dict().items()
        if name.startswith("swinViT.")
    } | {"encoder.mask_token": torch.zeros(1, 1, 12)}
    filtered = dict(filter(None, (filter_swinunetr(k, v) for k, v in theirs.items())))
    assert set(filtered) <= set(network.state_dict())
    torch.save({"model": theirs}, tmp_path / "ssl_pretrained_weights.pth")
    folder, report = import_weights(
        "auto", tmp_path / "ssl_pretrained_weights.pth", tmp_path / "e", modalities=["ct"]
    )
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        same(equals, rebuilt(folder), network, x, x)
    assert report.unexpected == ["encoder.mask_token"]


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    state = {k: v for k, v in swin().state_dict().items() if ".layers3." not in k}
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(CheckpointError, match=r"four stages.*\[1, 2, 4\]"):
        import_weights("auto", tmp_path / "half.pt", tmp_path / "e", modalities=["ct"])
