"""Plans that exchange axes, or build other blocks, against networks of nnU-Net's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import Tensor, nn

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.encoders.networks import read_network
from hilum.exchange.weights_in.importing import import_weights
from hilum.exchange.weights_in.source import written
from hilum.exchange.weights_in.swin_names import SMALL

SIDES, SPACING = (8, 12, 16), [3.0, 1.5, 1.0]
KERNELS: Any = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
STRIDES: Any = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
BLOCKS: dict[str, Any] = {
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}


def unet(kind: Any = PlainConvUNet, **blocks: Any) -> nn.Module:
    network = kind(
        1, 3, [4, 8, 8], nn.Conv3d, KERNELS, STRIDES, [1, 1, 2], 2, [1, 1],
        deep_supervision=True, **{**BLOCKS, **blocks},
    )  # fmt: skip
    return network.eval()


def plans(forward: list[int] | None = None, **layers: Any) -> dict[str, Any]:
    order = forward or [0, 1, 2]
    configuration = {
        "patch_size": list(SIDES), "spacing": SPACING,
        "architecture": {"arch_kwargs": {"strides": STRIDES, "kernel_sizes": KERNELS, **layers}},
    }  # fmt: skip
    # As nnU-Net's planner writes the way back.
    backward = [int(np.argwhere(np.array(order) == axis)[0][0]) for axis in range(3)]
    return {
        "transpose_forward": order, "transpose_backward": backward,
        "configurations": {"3d_fullres": configuration},
    }  # fmt: skip


def args(planned: Any) -> dict[str, Any]:
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "node": 1}}
    return {"plans": planned, "configuration": "3d_fullres", "dataset_json": dataset}


def saved(file: Path, network: nn.Module, planned: Any = None) -> Path:
    about = {"init_args": args(planned)} if planned else {}
    torch.save({"network_weights": network.state_dict(), **about}, file)
    return file


def turned(volume: Tensor, order: list[int]) -> Tensor:
    """As nnU-Net's preprocessing and export do it, behind batch and channels."""
    data = volume.detach().numpy()
    return torch.from_numpy(np.stack([x.transpose([0, *[i + 1 for i in order]]) for x in data]))


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("forward", [[1, 0, 2], [2, 0, 1], [1, 2, 0]])
def test_a_network_of_other_axes_sees_the_image_as_it_is(
    tmp_path: Path, equals, kind: Any, forward: list[int]
) -> None:
    """The axis of the largest spacing is the network's first, whichever it is in the image."""
    network, planned = unet(kind), plans(forward)
    for value in network.parameters():
        value.data += 0.1 * torch.randn_like(value)
    file = saved(tmp_path / "c.pth", network, planned)
    folder, report = import_weights(
        "auto", file, tmp_path / "o", modalities=["ct"], whole=True, spacing=None
    )
    ours, back = read_network(folder), planned["transpose_backward"]
    ours.encoder.eval()
    ours.decoder.eval()
    image = torch.randn(1, 1, *(SIDES[axis] for axis in back))
    seen = turned(image, forward)
    assert seen.shape[2:] == SIDES
    with torch.no_grad():
        features = network.encoder(seen)  # pyright: ignore[reportCallIssue]
        for mine, theirs in zip(ours.encoder(image), features, strict=True):
            equals(mine, turned(theirs, back))
        equals(ours(image), turned(network(seen)[0], back))
    about = ours.config.encoder
    assert [about.spacing[axis] for axis in forward] == SPACING
    assert [about.patch[axis] for axis in forward] == list(SIDES)
    assert report.covered == 1
    assert "axes turned back" in next(iter(report.adapted.values()))
    assert any("exchange the axes" in note for note in about.extra["imported"]["notes"])


def test_what_cannot_be_turned_is_refused(tmp_path: Path) -> None:
    """A Swin transformer merges tokens in an order, and looks up positions in tables."""
    file = written(
        tmp_path / "swin.pth", SMALL, "swinViT.", "network_weights",
        init_args=args(plans([1, 0, 2])),
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"must have the axes of the image.*transpose"):
        import_weights("nnunet", file, tmp_path / "o", modalities=["ct"])
    odd = saved(tmp_path / "odd.pth", unet(), plans() | {"transpose_forward": [1, 0]})
    with pytest.raises(CheckpointError, match=r"must order three axes, found \[1, 0\]"):
        import_weights("auto", odd, tmp_path / "o", modalities=["ct"])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}, "norm_op .* found BatchNorm3d"),
        ({"norm_op": None}, "norm_op .* found None"),
        ({"norm_op_kwargs": {"eps": 1e-3, "affine": True}}, r"eps .* found 0\.001"),
        ({"nonlin": "torch.nn.ReLU", "nonlin_kwargs": None}, "nonlin .* found ReLU"),
        ({"nonlin_kwargs": {"negative_slope": 0.1}}, r"negative_slope .* found 0\.1"),
        ({"nonlin_first": True}, "nonlin_first .* found True"),
    ],
)
def test_blocks_of_other_parts_are_refused_by_the_plans(
    tmp_path: Path, layers: dict[str, Any], message: str
) -> None:
    """No tensor would show most of them."""
    file = saved(tmp_path / "c.pth", unet(), plans(**layers))
    with pytest.raises(CheckpointError, match=message):
        import_weights("auto", file, tmp_path / "o", modalities=["ct"])


@pytest.mark.parametrize(
    ("kind", "blocks", "name"),
    [
        (PlainConvEncoder, {"norm_op": nn.BatchNorm3d}, "num_batches_tracked"),
        (PlainConvEncoder, {"pool": "max"}, r"stages\.1\.1\.convs"),
        (ResidualEncoder, {"norm_op": nn.BatchNorm3d}, "num_batches_tracked"),
        (ResidualEncoder, {"squeeze_excitation": True}, "squeeze_excitation"),
    ],
)
def test_a_network_with_more_than_ours_is_refused_without_plans(
    tmp_path: Path, kind: Any, blocks: dict[str, Any], name: str
) -> None:
    network = nn.Module()
    network.encoder = kind(
        1, 3, [4, 8, 8], nn.Conv3d, KERNELS, STRIDES, [1, 1, 2], **{**BLOCKS, **blocks}
    )
    with pytest.raises(CheckpointError, match=rf"must have every tensor.*{name}") as caught:
        import_weights(
            "auto", saved(tmp_path / "c.pth", network), tmp_path / "o", modalities=["ct"]
        )
    assert "\n" not in str(caught.value)


def test_dropout_between_the_blocks_is_nothing_that_is_lost(
    tmp_path: Path, equals, rebuilt
) -> None:
    """It moves the norm's second name by one, and does nothing in evaluation."""
    network: Any = unet(dropout_op=nn.Dropout3d, dropout_op_kwargs={"p": 0.5})
    assert any(".all_modules.2." in name for name in network.state_dict())
    folder, report = import_weights(
        "auto", saved(tmp_path / "c.pth", network), tmp_path / "o", modalities=["ct"]
    )
    x = torch.randn(1, 1, *SIDES)
    for ours, theirs in zip(rebuilt(folder)(x), network.encoder(x), strict=True):
        equals(ours, theirs)
    assert report.covered == 1
    assert all(name.startswith("decoder.") for name in report.unexpected)


def test_a_2d_configuration_is_told(tmp_path: Path) -> None:
    flat = PlainConvUNet(
        1, 2, [4, 8], nn.Conv2d, 3, [1, 2], 1, 2, 1, conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True},
    )  # fmt: skip
    planned = plans([1, 0, 2], norm_op="torch.nn.InstanceNorm2d", strides=[[1, 1], [2, 2]])
    for number, told in enumerate((planned, None)):
        file = saved(tmp_path / f"{number}.pth", flat, told)
        with pytest.raises(CheckpointError, match=r"must be 3D.*2D.*import 3d_fullres"):
            import_weights("auto", file, tmp_path / "o", modalities=["ct"])


def test_stunet_follows_plans_too(tmp_path: Path, equals, rebuilt) -> None:
    """Its trainer takes nnU-Net's strides, as many as it has stages, then ones."""
    from hilum.core.registry import build
    from hilum.encoders import ENCODERS

    spec = {"name": "stunet", "features": [4, 8, 8, 8], "blocks": [1] * 4}
    network = build(ENCODERS, spec | {"strides": [*STRIDES, [1, 1, 1]]}, in_channels=1).eval()
    state = {n.removeprefix("inner."): v for n, v in network.state_dict().items()}
    forward = [2, 0, 1]
    planned = plans(forward)
    torch.save({"network_weights": state, "init_args": args(planned)}, tmp_path / "s.pth")
    folder, _ = import_weights("stunet", tmp_path / "s.pth", tmp_path / "o", modalities=["ct"])
    back = planned["transpose_backward"]
    image = torch.randn(1, 1, *(SIDES[axis] for axis in back))
    with torch.no_grad():
        features = network(turned(image, forward))
        for ours, theirs in zip(rebuilt(folder)(image), features, strict=True):
            equals(ours, turned(theirs, back))
    assert [read_config(folder).spacing[axis] for axis in forward] == SPACING
