"""Whole networks of other tools give their logits: each against an object of its library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.networks.nets.swin_unetr import SwinUNETR
from torch import Tensor, nn
from torch.testing import assert_close

from hilum.core.errors import CheckpointError
from hilum.core.files import read_json
from hilum.encoders.networks import read_network
from hilum.exchange.weights_in.importing import import_weights
from hilum.exchange.weights_in.inspect import look

BOTH = ("ct", "pet")
BLOCKS: dict[str, Any] = {
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}
KERNELS: Any = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
STEPS: Any = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def plain(classes: int = 2) -> nn.Module:
    """Anisotropic as nnU-Net plans thick slices."""
    return PlainConvUNet(
        2, 3, [4, 8, 8], nn.Conv3d, KERNELS, STEPS, [2, 1, 2], classes, [2, 1],
        deep_supervision=True, **BLOCKS,
    )  # fmt: skip


def residual(classes: int = 2) -> nn.Module:
    return ResidualEncoderUNet(
        2, 3, [4, 8, 8], nn.Conv3d, 3, STEPS, [1, 1, 2], classes, [1, 1],
        deep_supervision=True, **BLOCKS,
    )  # fmt: skip


def swin(v2: bool = True, classes: int = 2) -> nn.Module:
    return SwinUNETR(in_channels=2, out_channels=classes, feature_size=12, use_v2=v2)


def checkpoint(network: nn.Module, labels: dict[str, Any]) -> dict[str, Any]:
    """As nnU-Net v2 saves it, plans without an architecture."""
    dataset = {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels}
    plans = {"configurations": {"3d_fullres": {"spacing": [3.0, 1.0, 1.0]}}}
    args = {"plans": plans, "configuration": "3d_fullres", "dataset_json": dataset}
    return {"network_weights": network.state_dict(), "init_args": args}


def below(prefix: str) -> Callable[[nn.Module], dict[str, Tensor]]:
    return lambda network: {prefix + name: v for name, v in network.state_dict().items()}


NODE = {"background": 0, "lymph node": 1}
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Any], str, str]] = {
    "nnU-Net": (plain, lambda n: checkpoint(n, NODE), "nnunet", "class lymph node"),
    "ResEnc": (residual, lambda n: checkpoint(n, NODE), "nnunet", "class lymph node"),
    "names alone": (plain, below(""), "nnunet", "unknown channel 1"),
    "LN-Seg-FM's Swin UNETR": (swin, lambda n: checkpoint(n, NODE), "nnunet", "class lymph node"),
    "nnssl": (
        residual,
        lambda n: {"network_weights": n.state_dict(), "nnssl_adaptation_plan": {}},
        "nnssl",
        "unknown channel 1",
    ),
    "PET/CT, nnunet.": (plain, below("nnunet."), "mae_pet_ct", "reconstruction pet"),
    "PET/CT, encoder_decoder.": (
        plain,
        below("encoder_decoder."),
        "mae_pet_ct",
        "reconstruction pet",
    ),
    "PET/CT, both": (
        residual,
        below("encoder_decoder.nnunet."),
        "mae_pet_ct",
        "reconstruction pet",
    ),
    "PET/CT, Swin": (swin, below("encoder_decoder."), "mae_pet_ct", "reconstruction pet"),
    "Swin UNETR": (
        lambda: swin(False),
        lambda n: {"state_dict": n.state_dict()},
        "swin_unetr",
        "unknown channel 1",
    ),
    "SuPreM Swin": (
        lambda: swin(False),
        lambda n: {"net": below("module.backbone.")(n), "epoch": 1},
        "suprem",
        "unknown channel 1",
    ),
    "SuPreM SegResNet": (
        lambda: SegResNet(
            init_filters=8, in_channels=2, out_channels=2, blocks_down=(1, 2, 1), blocks_up=(1, 1)
        ),
        lambda n: {"net": below("module.backbone.")(n), "epoch": 1},
        "suprem",
        "unknown channel 1",
    ),
    "SegResNet": (
        lambda: SegResNet(
            init_filters=8, in_channels=2, out_channels=2, blocks_down=(1, 2, 1), blocks_up=(1, 1)
        ),
        lambda n: {"state_dict": below("net.")(n)},
        "ct_fm",
        "unknown channel 1",
    ),
    "SegResNetDS": (
        lambda: SegResNetDS(
            init_filters=8, in_channels=2, blocks_down=(1, 2, 1), dsdepth=2, norm="batch"
        ),
        lambda n: {"state_dict": n.state_dict()},
        "ct_fm",
        "unknown channel 1",
    ),
}


def run(folder: Path, network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return our logits and theirs; `act_mod` of MONAI makes nothing to load."""
    ours = read_network(folder)
    ours.encoder.eval()
    ours.decoder.eval()
    with torch.no_grad():
        theirs = network.eval()(image)
        return ours(image), theirs[0] if isinstance(theirs, list | tuple) else theirs


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_source(name: str, tmp_path: Path) -> None:
    make, save, source, second = CASES[name]
    torch.manual_seed(0)
    network = make()
    for value in network.buffers():  # running statistics of an untrained network are alike
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    torch.save(save(network), tmp_path / "file.pth")
    folder, report = import_weights(
        "auto", tmp_path / "file.pth", tmp_path / "out", modalities=BOTH, whole=True
    )
    about = read_network(folder).config
    assert about.encoder.extra["imported"]["source"] == source
    assert report.covered == 1
    assert str(about.outputs[1]) == second
    sides = (64, 32, 32) if "wi" in name.split(",")[-1].lower() else (8, 16, 16)
    ours, theirs = run(folder, network, torch.randn(1, 2, *sides))
    assert_close(ours, theirs, rtol=0, atol=1e-5)
    text = "\n".join(look(tmp_path / "file.pth"))
    assert "whole network: import it with --whole" in text


@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        (SegResNet, ("INSTANCE", {"affine": True})),
        (SegResNet, "INSTANCE"),
        (SegResNetDS, ("INSTANCE", {"affine": True})),
    ],
)
def test_an_instance_norm_is_that_of_the_source(kind: Any, norm: Any, tmp_path: Path) -> None:
    """Names cannot tell an instance norm with weights from a group norm: it must be said."""
    torch.manual_seed(0)
    more: Any = {"out_channels": 2, "blocks_up": (1, 1)} if kind is SegResNet else {"dsdepth": 2}
    network = kind(init_filters=8, in_channels=2, blocks_down=(1, 2, 1), norm=norm, **more)
    for name, value in network.named_parameters():
        if "norm" in name or name.startswith("conv_final.0"):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    torch.save(network.state_dict(), tmp_path / "file.pth")
    ambiguous = kind is SegResNet and norm != "INSTANCE"
    folders = {}
    for asked in ({"norm": "instance"}, {}):
        folders[len(asked)], _ = import_weights(
            "auto", tmp_path / "file.pth", tmp_path / f"out{len(asked)}",
            modalities=BOTH, whole=True, architecture=asked,
        )  # fmt: skip
    image = torch.randn(1, 2, 8, 16, 16)
    ours, theirs = run(folders[1], network, image)
    assert_close(ours, theirs, rtol=0, atol=1e-5)
    ours, _ = run(folders[0], network, image)
    assert (float((ours - theirs).abs().max()) > 1e-2) == ambiguous
    notes = read_network(folders[0]).config.encoder.extra["imported"]["notes"]
    assert any("group norm" in note for note in notes) == ambiguous


def test_what_the_decoder_takes_is_no_leftover_and_both_reports_are_kept(tmp_path: Path) -> None:
    state = checkpoint(plain(), NODE)
    state["network_weights"]["strange.weight"] = torch.ones(2)
    torch.save(state, tmp_path / "f.pth")
    folder, report = import_weights(
        "auto", tmp_path / "f.pth", tmp_path / "o", modalities=BOTH, whole=True
    )
    assert report.unexpected == ["strange.weight"]
    told = read_json(folder / "load_report.json")
    assert told["encoder"] == report.as_json()
    own = {name for name, _ in read_network(folder).decoder.named_parameters()}
    assert own == set(told["decoder"]["loaded"]) | set(told["decoder"]["adapted"])
    _, alone = import_weights("auto", tmp_path / "f.pth", tmp_path / "e", modalities=BOTH)
    assert any(name.startswith("decoder.seg_layers.") for name in alone.unexpected)


def test_half_a_network_is_refused_and_its_encoder_is_not(tmp_path: Path) -> None:
    state = plain().state_dict()
    half = {n: v for n, v in state.items() if not n.startswith("decoder.")}
    torch.save(half, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match="must hold a whole network"):
        import_weights("auto", tmp_path / "half.pth", tmp_path / "o", modalities=BOTH, whole=True)
    cut = {n: v for n, v in state.items() if not n.startswith("decoder.stages.1")}
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match="of the decoder"):
        import_weights("auto", tmp_path / "cut.pth", tmp_path / "o", modalities=BOTH, whole=True)
    assert not (tmp_path / "o").exists()
    _, report = import_weights("auto", tmp_path / "cut.pth", tmp_path / "o", modalities=BOTH)
    assert report.covered == 1


def test_regions_are_no_classes_and_odd_labels_are_nothing(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    torch.save(checkpoint(plain(), labels), tmp_path / "f.pth")
    folder, _ = import_weights(
        "auto", tmp_path / "f.pth", tmp_path / "o", modalities=BOTH, whole=True
    )
    assert list(map(str, read_network(folder).config.outputs)) == ["region whole", "region core"]
    torch.save(checkpoint(plain(), {"background": 0, "node": 2}), tmp_path / "g.pth")
    folder, _ = import_weights(
        "auto", tmp_path / "g.pth", tmp_path / "p", modalities=BOTH, whole=True
    )
    assert {o.kind for o in read_network(folder).config.outputs} == {"unknown"}
