"""Export an encoder to nnU-Net: a checkpoint that it fine-tunes from, and nnssl's plan."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hilum.core.checkpoints import EncoderConfig, load_weights, read_config
from hilum.core.errors import CheckpointError
from hilum.core.files import write_json, write_text
from hilum.core.input_scale import zscored
from hilum.core.registry import build
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS

from .nnunet_networks import Counterpart, counterpart

CARRIED = {
    "spacing", "orientation", "modalities", "intensity", "pretext", "data_hash", "licence", "seen",
}  # fmt: skip
"""What of our configuration travels in the plan, for whoever reads the checkpoint back."""


def export_nnunet(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `checkpoint.pth`, `adaptation_plan.json`, a README and, for U-Nets, `architecture.json`.

    `nnUNetv2_train_pretrained` follows nnssl's plan, which lies in the checkpoint, and takes the
    encoder. `nnUNetv2_train -pretrained_weights` wants every weight of its network but those of
    the segmentation layers, so the checkpoint also holds a decoder, as nnU-Net initialises it.
    """  # noqa: E501 - one line
    config = read_config(folder)
    name, channels = str(config.architecture.get("name")), len(config.modalities)
    encoder = build(ENCODERS, config.architecture, in_channels=channels)
    load_weights(encoder, read_weights(folder), threshold=1.0)
    theirs = counterpart(name, encoder, channels)
    plan = adaptation_plan(config, theirs)
    # The state repeats a tensor under each of its names, as nnU-Net looks for all of them.
    state = theirs.network.state_dict()
    checkpoint = {
        "network_weights": {
            key: value.detach().cpu().clone()
            for key, value in state.items()
            if ".seg_layers." not in key
        },
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
    if theirs.kwargs is not None:
        write_json(part / "architecture.json", architecture_of(theirs))
    write_text(part / "README.md", _readme(config, theirs))
    image = torch.rand((1, encoder.in_channels, *(theirs.patch or config.patch)))
    largest = difference(encoder, theirs, image)
    if not largest <= tolerance:
        raise CheckpointError(
            f"features in nnU-Net's network must equal ours within {tolerance:g}", found=largest
        )
    count = len(checkpoint["network_weights"])
    return {"tensors": count, "largest_difference": largest, "tolerance": tolerance}


def architecture_of(theirs: Counterpart) -> dict[str, Any]:
    """Return the network as `architecture` of a configuration in an nnU-Net plans file."""
    return {
        "network_class_name": theirs.name,
        "arch_kwargs": theirs.kwargs,
        "_kw_requires_import": theirs.imported,
    }


def adaptation_plan(config: EncoderConfig, theirs: Counterpart) -> dict[str, Any]:
    """Return nnssl's description of how a network takes over the weights.

    The class is named with its module, and its arguments are given: nnU-Net builds what
    `ResEncL` alone names with fixed stages, whatever the arguments say.
    """
    patch = list(theirs.patch or config.patch)
    return {
        "architecture_plans": {
            "arch_class_name": theirs.name,
            "arch_kwargs": theirs.kwargs,
            "arch_kwargs_requiring_import": theirs.imported,
        },
        "pretrain_plan": {
            "plans_name": "hilum",
            "configurations": {
                "3d_fullres": {
                    "patch_size": patch,
                    **config.model_dump(mode="json", include=CARRIED),
                }
            },
        },
        "pretrain_num_input_channels": len(config.modalities),
        "recommended_downstream_patchsize": list(config.patch),
        **theirs.keys,
    }


@torch.no_grad()
def difference(ours: nn.Module, theirs: Counterpart, image: Tensor) -> float:
    """Return the largest absolute difference between the features of two encoders.

    What is no number in one of them makes it infinite.
    """
    found = theirs.features(theirs.network.eval(), image)
    pairs = zip(ours.eval()(image)[theirs.ours], found, strict=True)
    return max(float((a - b).abs().nan_to_num(nan=math.inf).max()) for a, b in pairs)


def _readme(config: EncoderConfig, theirs: Counterpart) -> str:
    channels = "\n".join(f"{i}. {name}" for i, name in enumerate(config.modalities))
    spacing = " ".join(f"{s:g}" for s in config.spacing)
    trainer = "PretrainedTrainer" if theirs.kwargs else "PretrainedTrainer_Primus"
    older = (
        ""
        if theirs.kwargs is None
        else f"""
## With `-pretrained_weights` (any nnU-Net v2)

1. Put `architecture.json` as `architecture` of your configuration into `nnUNetPlans.json`
   (patch {list(config.patch)}, spacing {spacing} mm, depth first).
2. `nnUNetv2_train DATASET 3d_fullres FOLD -p PLANS -pretrained_weights checkpoint.pth`
"""
    )
    return f"""# {theirs.name.rpartition(".")[2]} for nnU-Net

Trained by hilum ({config.pretext.get("name", "unknown pretext")}); licence: \
{config.licence or "not stated"}. The encoder is trained, the decoder is new.

## With nnssl's adaptation plan (nnU-Net with `nnUNetv2_train_pretrained`)

1. `nnUNetv2_plan_and_preprocess -d ID --verify_dataset_integrity`
2. `nnUNetv2_preprocess_like_nnssl -d ID -n NAME -pc checkpoint.pth -am fixed -os {spacing}`
3. `nnUNetv2_train_pretrained ID 3d_fullres FOLD -p ptPlans__NAME____... -tr {trainer}`
{older}
Channels, in this order:

{channels}

{_scaled(config)}
"""


def _scaled(config: EncoderConfig) -> str:
    """Return in which scale the encoder saw its inputs."""
    if not config.intensity:
        return "How intensities were scaled in its training is not on record."
    own = zscored(config.intensity)
    if set(own) == set(config.modalities):
        return "Intensities were z-scores of whole volumes, as nnU-Net makes them."
    but = f" but for {', '.join(own)}, which were z-scores" if own else ""
    return (
        "Intensities were scaled as `intensity` in `adaptation_plan.json` says, not by nnU-Net's "
        f"z-score{but}."
    )
