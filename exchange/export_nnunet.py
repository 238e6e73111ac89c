"""Export a residual encoder to nnU-Net: a checkpoint that it loads, and nnssl's plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.checkpoints import EncoderConfig, load_weights, read_config, read_weights
from ..core.errors import CheckpointError
from ..core.files import write_json, write_text
from ..core.registry import build
from ..encoders import ENCODERS

NETWORK = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]


def export_nnunet(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `checkpoint.pth`, `adaptation_plan.json`, `architecture.json` and a README.

    nnU-Net's `-pretrained_weights` wants every weight of its network but those of the segmentation
    layers, so the checkpoint also holds a decoder, as nnU-Net initialises it. nnssl's plan names
    the keys of the encoder and of the stem: tools that follow it take these alone.
    """
    config = read_config(folder)
    encoder = _encoder(folder, config)
    architecture = architecture_of(encoder)
    network = _network(architecture, len(config.modalities))
    weights = _weights(encoder, network)
    plan = adaptation_plan(config, architecture)
    checkpoint = {
        "network_weights": weights,
        "nnssl_adaptation_plan": plan,
        "trainer_name": f"hilum {config.pretext.get('name', 'pretraining')}",
        "init_args": {},
        "current_epoch": 0,
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
    }
    torch.save(checkpoint, part / "checkpoint.pth")
    write_json(part / "adaptation_plan.json", plan)
    write_json(part / "architecture.json", architecture)
    write_text(part / "README.md", _readme(config))
    image = torch.rand((1, encoder.in_channels, *config.patch))
    largest = difference(encoder, network.get_submodule("encoder"), image)
    if largest > tolerance:
        raise CheckpointError(
            f"features in nnU-Net's network must equal ours within {tolerance:g}", found=largest
        )
    return {"tensors": len(weights), "largest_difference": largest, "tolerance": tolerance}


def architecture_of(encoder: nn.Module) -> dict[str, Any]:
    """Return the network of an encoder in the words of an nnU-Net plans file."""
    inner: Any = encoder.get_submodule("inner")
    stages = len(inner.output_channels)
    return {
        "network_class_name": NETWORK,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(inner.output_channels),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [list(step) for step in inner.strides],
            "n_blocks_per_stage": [len(stage.blocks) for stage in inner.stages],
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": IMPORTED,
    }


def adaptation_plan(config: EncoderConfig, architecture: dict[str, Any]) -> dict[str, Any]:
    """Return nnssl's description of how a network takes over the weights."""
    return {
        "architecture_plans": {
            "arch_class_name": "ResEncL",
            "arch_kwargs": architecture["arch_kwargs"],
            "arch_kwargs_requiring_import": architecture["_kw_requires_import"],
        },
        "pretrain_plan": {
            "spacing": list(config.spacing),
            "patch_size": list(config.patch),
            "orientation": config.orientation,
            "modalities": list(config.modalities),
            "intensity": config.intensity,
            "pretext": config.pretext,
        },
        "pretrain_num_input_channels": len(config.modalities),
        "recommended_downstream_patchsize": list(config.patch),
        "key_to_encoder": "encoder.stages",
        "key_to_stem": "encoder.stem",
        "keys_to_in_proj": ["encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"],
        "key_to_lpe": None,
    }


@torch.no_grad()
def difference(ours: nn.Module, theirs: nn.Module, image: Tensor) -> float:
    """Return the largest absolute difference between the features of two encoders."""
    pairs = zip(ours.eval()(image), theirs.eval()(image), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def _encoder(folder: Path, config: EncoderConfig) -> Any:
    name = config.architecture.get("name")
    if name != "resenc":
        raise CheckpointError(
            "nnU-Net's residual network takes resenc encoders",
            file=folder,
            found=name,
            remedy="pretrain with encoder.name=resenc, or export to huggingface or state_dict",
        )
    encoder = build(ENCODERS, config.architecture, in_channels=len(config.modalities))
    load_weights(encoder, read_weights(folder), threshold=1.0)
    return encoder


def _network(architecture: dict[str, Any], channels: int) -> nn.Module:
    """Return nnU-Net's network for a plan, decoder initialised as there, from a fixed seed."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    values = dict(architecture["arch_kwargs"])
    values |= {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResidualEncoderUNet(channels, num_classes=2, deep_supervision=True, **values)
        network.apply(network.initialize)
    return network


def _weights(encoder: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Fill the network's encoder, and return every tensor but those of segmentation layers.

    The state repeats a tensor under each of its names, as nnU-Net looks for all of them.
    """
    inner = encoder.get_submodule("inner").state_dict()
    network.get_submodule("encoder").load_state_dict(inner)
    state = network.state_dict()
    return {n: v.detach().cpu().clone() for n, v in state.items() if ".seg_layers." not in n}


def _readme(config: EncoderConfig) -> str:
    channels = "\n".join(f"{i}. {name}" for i, name in enumerate(config.modalities))
    spacing = " x ".join(f"{s:g}" for s in config.spacing)
    return f"""# Residual encoder for nnU-Net

Trained by hilum ({config.pretext.get("name", "unknown pretext")}); licence: \
{config.licence or "not stated"}. The encoder is trained, the decoder is new.

1. Plan with `architecture.json` as `architecture` of your configuration in `nnUNetPlans.json`
   (patch {list(config.patch)}, spacing {spacing} mm, depth first).
2. `nnUNetv2_train DATASET 3d_fullres FOLD -p PLANS -pretrained_weights checkpoint.pth`

Channels, in this order:

{channels}

Tools that follow nnssl's adaptation plan find it in the checkpoint and in `adaptation_plan.json`.
Intensities were scaled as the plan's `intensity` says, not by nnU-Net's z-score.
"""
