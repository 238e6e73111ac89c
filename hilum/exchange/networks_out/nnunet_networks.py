"""nnU-Net's own network around one of our encoders, and how nnssl's adaptation plan names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hilum.core.errors import CheckpointError

UNETS = {
    "resenc": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "plainconv": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
}
IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]
PRIMUS = {(396, 12, 6): "PrimusS", (792, 12, 12): "PrimusB", (864, 16, 12): "PrimusM",
          (1056, 24, 16): "PrimusL"}  # fmt: skip
"""The name that nnU-Net knows a Primus by: width, depth, heads. It builds no other."""

Features = Callable[[nn.Module, Tensor], list[Tensor]]


class Counterpart(NamedTuple):
    """nnU-Net's network with our encoder's weights, the rest as nnU-Net initialises it.

    Attributes:
        name: Class of the network, as plans name it.
        kwargs: What builds it, in the words of a plans file; none where the name says all.
        imported: Those of `kwargs` that name a class.
        keys: The plan's keys of the encoder, the stem, its first layer and positions.
        patch: Sides that learned positions are made for; none without.
        network: The network.
        features: What its encoder makes of an image.
        ours: Which of our encoder's maps those are.
    """

    name: str
    kwargs: dict[str, Any] | None
    imported: list[str] | None
    keys: dict[str, Any]
    patch: tuple[int, int, int] | None
    network: nn.Module
    features: Features
    ours: slice


def counterpart(name: str, encoder: nn.Module, channels: int) -> Counterpart:
    """Return nnU-Net's network around an encoder of the table.

    Args:
        name: Of the encoder's family.
        encoder: With its weights.
        channels: Of the image.

    Raises:
        CheckpointError: If nnU-Net has no such network.
    """
    if name in ("resenc", "plainconv"):
        return _unet(name, encoder, channels)
    if name == "primus":
        return _primus(encoder, channels)
    raise CheckpointError(
        "nnU-Net's networks take resenc, plainconv and primus encoders",
        found=name,
        remedy="pretrain with one of them, or export to huggingface or state_dict",
    )


def unet_kwargs(encoder: nn.Module) -> dict[str, Any]:
    """Return what builds the U-Net around an encoder, in the words of a plans file."""
    inner: Any = encoder.get_submodule("inner")
    stages = len(inner.output_channels)
    if hasattr(inner, "stem"):
        depths = {"n_blocks_per_stage": [len(stage.blocks) for stage in inner.stages]}
    else:
        depths = {"n_conv_per_stage": [len(stage[0].convs) for stage in inner.stages]}
    return {
        "n_stages": stages,
        "features_per_stage": list(inner.output_channels),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [list(step) for step in inner.strides],
        **depths,
        "n_conv_per_stage_decoder": [1 if hasattr(inner, "stem") else 2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _unet(name: str, encoder: nn.Module, channels: int) -> Counterpart:
    from dynamic_network_architectures.architectures import unet

    kwargs, kind = unet_kwargs(encoder), UNETS[name]
    classes = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = getattr(unet, kind.rpartition(".")[2])(
            channels, num_classes=2, deep_supervision=True, **(kwargs | classes)
        )
        network.apply(network.initialize)  # pyright: ignore[reportArgumentType]
    network.get_submodule("encoder").load_state_dict(encoder.get_submodule("inner").state_dict())
    stem = "encoder.stem" if name == "resenc" else "encoder.stages.0"
    first = f"{stem}.convs.0" if name == "resenc" else f"{stem}.0.convs.0"
    keys = {
        "key_to_encoder": "encoder.stages",
        "key_to_stem": stem,
        "keys_to_in_proj": [f"{first}.conv", f"{first}.all_modules.0"],
        "key_to_lpe": None,
    }

    def features(theirs: nn.Module, image: Tensor) -> list[Tensor]:
        return theirs.get_submodule("encoder")(image)

    return Counterpart(kind, kwargs, IMPORTED, keys, None, network, features, slice(None))


def _primus(encoder: nn.Module, channels: int) -> Counterpart:
    from dynamic_network_architectures.architectures import primus

    own: Any = encoder
    eva: Any = own.get_submodule("inner.eva")
    size = (eva.pos_embed.shape[2], len(eva.blocks), eva.blocks[0].attn.num_heads)
    name = PRIMUS.get(size)
    if name is None or tuple(own.token) != (8, 8, 8):
        known = ", ".join(PRIMUS.values())
        raise CheckpointError(
            f"nnU-Net builds {known}, on tokens of 8 voxels, and no other Primus",
            found="width {}, depth {}, heads {}".format(*size) + f", tokens of {tuple(own.token)}",
            remedy="pretrain with encoder.size=small, base, medium or large",
        )
    d, h, w = (count * 8 for count in own.trained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = getattr(primus, name)(channels, 2, (8, 8, 8), (d, h, w))
    inner = own.get_submodule("inner")
    for part in ("down_projection", "eva"):
        network.get_submodule(part).load_state_dict(inner.get_submodule(part).state_dict())
    keys = {
        "key_to_encoder": "eva",
        "key_to_stem": "down_projection",
        "keys_to_in_proj": ["down_projection.proj"],
        "key_to_lpe": "eva.pos_embed",
    }

    def features(theirs: nn.Module, image: Tensor) -> list[Tensor]:
        tokens = theirs.get_submodule("down_projection")(image)
        found = theirs.get_submodule("eva")(tokens.flatten(2).transpose(1, 2))[0]
        return [found.transpose(1, 2).reshape(tokens.shape)]

    return Counterpart(name, None, None, keys, (d, h, w), network, features, slice(-1, None))
