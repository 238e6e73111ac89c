"""Encoder and decoder together are the network of the library or the published code, key by key."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.networks.nets.swin_unetr import SwinUNETR
from torch import Tensor, nn
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoders import DECODERS
from hilum.encoders.decoders.base import Decoder

NNUNET: dict[str, Any] = {
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}
STEPS = [1, 2, [1, 2, 2]]


def ours(
    encoder: dict[str, Any], decoder: dict[str, Any], deep: bool = True
) -> tuple[Encoder, Decoder]:
    made = build(ENCODERS, encoder, in_channels=2)
    more = {"deep_supervision": deep, "prior": None, "classes": 3}
    return made, build(DECODERS, decoder, channels=made.channels, strides=made.strides, **more)


def put(module: nn.Module, tensors: dict[str, Tensor], start: str) -> None:
    """Load the tensors below a prefix; all must be wanted, and all must be there."""
    own = {n.removeprefix(start): v for n, v in tensors.items() if n.startswith(start)}
    module.load_state_dict({n: v for n, v in own.items() if not n.startswith("encoder.")})


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize(
    ("cls", "name", "key", "counts", "ups"),
    [
        (PlainConvUNet, "plainconv", "convolutions", [2, 1, 2], [2, 2]),
        (ResidualEncoderUNet, "resenc", "blocks", [1, 2, 1], [1, 1]),
    ],
)
def test_nnunet(cls: Any, name: str, key: str, counts: list[int], ups: Any, deep: bool) -> None:
    torch.manual_seed(0)
    theirs = cls(
        2, 3, [4, 8, 8], nn.Conv3d, 3, STEPS, counts, 3, ups, deep_supervision=deep, **NNUNET
    )
    encoder, decoder = ours(
        {"name": name, "features": [4, 8, 8], "strides": STEPS, key: counts},
        {"name": "nnunet", "convolutions": ups},
        deep,
    )
    state = theirs.state_dict()
    put(encoder.get_submodule("inner"), state, "encoder.")
    if not deep:
        state = {n.replace("seg_layers.1", "seg_layers.0"): v for n, v in state.items()}
    put(decoder.get_submodule("inner"), state, "decoder.")
    image = torch.randn(1, 2, 8, 16, 8)
    found, wanted = decoder(encoder(image)), theirs(image)
    assert len(found) == (2 if deep else 1)
    for one, other in zip(found, wanted if deep else [wanted], strict=True):
        assert_close(one, other, rtol=0, atol=1e-6)


class PublishedBlock(nn.Module):
    """STU-Net's block as its paper's Figure 2 and released names have it, written out here."""

    def __init__(self, before: int, here: int, step: Any = 1, project: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(before, here, 3, stride=step, padding=1)
        self.norm1, self.norm2 = (nn.InstanceNorm3d(here, affine=True) for _ in range(2))
        self.conv2 = nn.Conv3d(here, here, 3, padding=1)
        self.conv3 = nn.Conv3d(before, here, 1, stride=step) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.leaky_relu(self.norm1(self.conv1(x)), 0.01)
        y = self.norm2(self.conv2(y)) + (x if self.conv3 is None else self.conv3(x))
        return nn.functional.leaky_relu(y, 0.01)


class Published(nn.Module):
    """A STU-Net with the names of its released weights."""

    def __init__(
        self, channels: int, classes: int, dims: list[int], depth: int, steps: Any
    ) -> None:
        super().__init__()
        self.steps = steps
        pairs = list(zip([channels, *dims[:-1]], dims, [1, *steps], strict=True))
        self.conv_blocks_context = nn.ModuleList(
            nn.Sequential(
                PublishedBlock(before, here, step, True),
                *[PublishedBlock(here, here) for _ in range(depth - 1)],
            )
            for before, here, step in pairs
        )
        ups = list(zip(dims[:0:-1], dims[-2::-1], strict=True))
        self.upsample_layers = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv3d(below, here, 1)}) for below, here in ups
        )
        self.conv_blocks_localization = nn.ModuleList(
            nn.Sequential(
                PublishedBlock(2 * here, here, 1, True),
                *[PublishedBlock(here, here) for _ in range(depth - 1)],
            )
            for _, here in ups
        )
        self.seg_outputs = nn.ModuleList(nn.Conv3d(here, classes, 1) for _, here in ups)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips, outputs = [], []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        for n, stage in enumerate(self.conv_blocks_localization):
            for axis, times in enumerate(self.steps[-1 - n], start=2):
                x = x.repeat_interleave(times, axis)  # nearest neighbours
            x = self.upsample_layers[n]["conv"](x)  # pyright: ignore[reportIndexIssue]
            x = stage(torch.cat((x, skips[-2 - n]), 1))
            outputs.append(self.seg_outputs[n](x))
        return outputs[::-1]


@pytest.mark.parametrize("depth", [1, 2])
def test_stunet(depth: int) -> None:
    torch.manual_seed(0)
    theirs = Published(2, 3, [4, 8, 8], depth, [(2, 2, 2), (1, 2, 2)])
    encoder, decoder = ours(
        {"name": "stunet", "features": [4, 8, 8], "blocks": [depth] * 3, "strides": STEPS},
        {"name": "stunet", "blocks": depth},
    )
    state = theirs.state_dict()
    first = {n: v for n, v in state.items() if n.startswith("conv_blocks_context.")}
    encoder.get_submodule("inner").load_state_dict(first)
    decoder.load_state_dict({n: v for n, v in state.items() if n not in first})
    image = torch.randn(1, 2, 8, 16, 8)
    for one, other in zip(decoder(encoder(image)), theirs(image), strict=True):
        assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("v2", [False, True])
def test_swin_unetr(v2: bool) -> None:
    torch.manual_seed(0)
    theirs = SwinUNETR(in_channels=2, out_channels=3, feature_size=12, use_v2=v2).eval()
    swin = {"name": "swin", "width": 12, "blocks": [2] * 4, "heads": [3, 6, 12, 24]}
    encoder, decoder = ours({**swin, "v2": v2, "fine": "block"}, {"name": "swin_unetr"})
    state = theirs.state_dict()
    put(encoder.get_submodule("inner"), state, "swinViT.")
    put(encoder.get_submodule("fine"), state, "encoder1.")
    apart = ("swinViT.", "encoder1.")
    decoder.load_state_dict({n: v for n, v in state.items() if not n.startswith(apart)})
    encoder.eval()
    decoder.eval()
    image = torch.randn(1, 2, 64, 32, 32)
    with torch.no_grad():
        assert_close(decoder(encoder(image))[0], theirs(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["group", "instance", "batch"])
def test_segresnet(norm: str) -> None:
    torch.manual_seed(0)
    kinds: dict[str, Any] = {
        "group": ("GROUP", {"num_groups": 8}),
        "instance": ("INSTANCE", {"affine": True}),
        "batch": ("BATCH", {}),
    }
    whole = {"init_filters": 8, "in_channels": 2, "out_channels": 3, "norm": kinds[norm]}
    made = {"name": "segresnet", "filters": 8, "blocks": [1, 2, 1], "norm": norm}
    image = torch.randn(1, 2, 8, 16, 8)
    deep = SegResNetDS(blocks_down=(1, 2, 1), blocks_up=(1, 2), dsdepth=2, **whole)
    encoder, decoder = ours(made, {"name": "segresnet_ds", "blocks": [1, 2], "norm": norm})
    put(encoder.get_submodule("inner"), deep.state_dict(), "encoder.")
    own = {n: v for n, v in deep.state_dict().items() if not n.startswith("encoder.")}
    decoder.load_state_dict(own)
    encoder.eval()
    decoder.eval()
    found = decoder(encoder(image))
    assert [x.shape[2] for x in found] == [8, 4]
    assert_close(found[0], deep.eval()(image), rtol=0, atol=1e-5)
    old = SegResNet(blocks_down=(1, 2, 1), blocks_up=(1, 2), **whole).eval()
    _, decoder = ours(made, {"name": "segresnet", "blocks": [1, 2], "norm": norm})
    apart = ("convInit.", "down_layers.", "act_mod")
    decoder.load_state_dict({n: v for n, v in old.state_dict().items() if not n.startswith(apart)})
    features, others = old.encode(image)
    wanted = old.decode(features, others[::-1])
    assert_close(decoder.eval()(others)[0], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in DECODERS if n not in ("pyramid", "linear")])
def test_a_decoder_starts_at_the_prior_and_refuses_other_pyramids(name: str) -> None:
    swin = name == "swin_unetr"
    channels = (12, 12, 24, 48, 96, 192) if swin else (8, 16, 32)
    strides = tuple((2**n,) * 3 for n in range(len(channels)))
    decoder = build(
        DECODERS, {"name": name}, channels=channels, strides=strides, classes=3,
        deep_supervision=True, prior=0.1,
    )  # fmt: skip
    for level in decoder.head_rows():
        (bias,) = (v for v in level.values() if v.ndim == 1)
        share = bias.softmax(0)[1:]
        assert_close(share, torch.full_like(share, 0.1))
    again = build(DECODERS, decoder.spec, channels=channels, strides=strides, classes=3, prior=None)
    assert {n: v.shape for n, v in again.state_dict().items()} == {
        n: v.shape for n, v in decoder.state_dict().items()
    }
    with pytest.raises(SettingsError, match=r"full resolution|needs the maps"):
        build(
            DECODERS, {"name": name}, channels=channels, strides=strides[1:] + strides[-1:],
            classes=3, prior=None,
        )  # fmt: skip
