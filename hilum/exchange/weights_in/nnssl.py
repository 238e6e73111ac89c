"""Weights of nnssl and OpenMind: ResEnc-L and Primus-M with an adaptation plan inside."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.core.checkpoints import EncoderConfig
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.settings import validate
from hilum.encoders.networks import reconstructions_of

from .nnunet_decoder import strides_of, whole_of
from .nnunet_plans import Plans, axes_of
from .positions import cube
from .reading import ForeignFile
from .residual_unet import (
    SMALL,
    architecture_of,
    check_blocks,
    encoder_weights,
    is_plain,
    is_residual,
)
from .source import Recipe, Request, WeightSource, prefix_before, renamed, written

PLAN = "nnssl_adaptation_plan"
ZSCORE = "ZScoreNormalization"
EMBED = "down_projection.proj.weight"
HEADS = {(396, 12): 6, (792, 12): 12, (864, 16): 12, (1056, 24): 16, (144, 6): 4}
"""Attention heads of a Primus by width and depth: no tensor tells them."""


class NnsslSource(WeightSource):
    """nnssl's checkpoints: `network_weights` next to an adaptation plan, which S3D's lack."""

    title = "nnssl / OpenMind (MAE, S3D, SimMIM, ...)"
    home = "https://huggingface.co/collections/MIC-DKFZ/openmind-models-6819c21c7fe6f0aaaab7dadf"
    licence = "CC-BY-4.0 (model cards); read the card of each file"
    obtain = "the checkpoint_final.pth of a model page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the adaptation plan, S3D's second group, or Primus's names."""
        if PLAN in foreign.about:
            return f"it holds {PLAN}"
        if "spark_weights" in foreign.groups:
            return "it holds spark_weights (S3D), which has no adaptation plan"
        if prefix_before(foreign.tensors, EMBED) is not None and any(
            "eva.blocks." in name for name in foreign.tensors
        ):
            return "names are Primus's: down_projection and eva"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Follow the adaptation plan as far as there is one."""
        plan = foreign.about.get(PLAN) or {}
        plans = _plans(foreign, plan)
        if (prefix := prefix_before(foreign.tensors, EMBED)) is not None:
            plans.check_order(foreign, "a Primus")
            recipe = _primus(foreign, prefix, plan, request)
        elif is_residual(foreign.tensors, prefix := _prefix(plan)) or is_plain(
            foreign.tensors, prefix
        ):
            file = plans.turned_back(foreign)
            weights, rest = encoder_weights(file.tensors, prefix)
            others = {name: file.tensors[name] for name in rest}
            whole, unused = whole_of(others, reconstructions_of(request.modalities[:1]))
            strides = plans.strides or strides_of(file.tensors)
            recipe = Recipe(architecture_of(file, weights, strides), weights, unused, whole=whole)
            check_blocks(foreign, plans.layers)
            plans.note(recipe)
        else:
            raise CheckpointError(
                "nnssl's network must be a residual or plain encoder or a Primus",
                file=foreign.path,
                found=plan.get("architecture_plans", {}).get("arch_class_name", "unknown names"),
                remedy="import an encoder of one of these",
            )
        if not plan:
            recipe.notes.append("no adaptation plan in the file: strides and patch are the usual")
        trainer = str(foreign.about.get("trainer_name", "unknown"))
        recipe.pretext = f"nnssl {trainer}"
        recipe.spacing = recipe.spacing or plans.spacing
        recipe.patch = recipe.patch or plans.patch
        # Without a plan (S3D) as all of OpenMind.
        schemes = _configuration(plan).get("normalization_schemes") or [ZSCORE]
        recipe.zscored = tuple(name == ZSCORE for name in schemes)
        if (own := _own(foreign, plan)) is not None:
            recipe.follow(own)
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a small residual encoder next to an adaptation plan."""
        plan = {"key_to_stem": "encoder.stem"}
        file = folder / "checkpoint_final.pth"
        return written(file, SMALL, "encoder.", "network_weights", **{PLAN: plan})


def _plans(foreign: ForeignFile, plan: Mapping[str, Any]) -> Plans:
    """Return what an adaptation plan says, in the words of nnU-Net's plans."""
    told = {
        **_configuration(plan),
        "architecture": {"arch_kwargs": _arch_kwargs(plan)},
        "patch_size": plan.get("recommended_downstream_patchsize"),
    }
    return Plans(told, axes_of(foreign, plan.get("pretrain_plan") or {}))


def _own(foreign: ForeignFile, plan: Mapping[str, Any]) -> EncoderConfig | None:
    """Return what `hilum export nnunet` wrote into the plan; nothing of a plan of nnssl's."""
    found = _configuration(plan)
    if "modalities" not in found:
        return None
    kept = {key: found[key] for key in EncoderConfig.model_fields if key in found}
    patch = plan.get("recommended_downstream_patchsize")
    try:
        return validate(EncoderConfig, {"architecture": {}, "patch": patch, **kept})
    except SettingsError as error:
        raise CheckpointError(
            f"{PLAN} must be as `hilum export nnunet` wrote it",
            file=foreign.path,
            found=" ".join(str(error).split()),
            remedy="export the encoder again",
        ) from None


def _primus(foreign: ForeignFile, prefix: str, plan: Mapping[str, Any], request: Request) -> Recipe:
    """Return the recipe of a token transformer; rotary buffers are made anew."""
    here = re.escape(prefix)
    weights, unused = renamed(
        foreign.tensors,
        [
            (here + r"eva\.rope\..*", ""),
            (here + r"((?:down_projection|eva)\..*)", r"inner.\1"),
        ],
    )
    weights.pop("", None)
    kernel = weights["inner.down_projection.proj.weight"]
    width, token = int(kernel.shape[0]), [int(side) for side in kernel.shape[2:]]
    depth = 1 + max(int(m[1]) for n in weights if (m := re.match(r"inner\.eva\.blocks\.(\d+)", n)))
    heads = request.architecture.get("heads", HEADS.get((width, depth)))
    if heads is None:
        raise CheckpointError(
            "the heads of the Primus must be known",
            file=foreign.path,
            found=f"width {width}, depth {depth}, which is no published size",
            remedy="give the architecture's heads",
        )
    recipe = Recipe(
        {"name": "primus", "width": width, "depth": depth, "heads": heads, "token": token},
        weights,
        unused,
        fresh=("pyramid.",),
    )
    positions = weights.get("inner.eva.pos_embed")
    if positions is not None:
        grid = _grid(int(positions.shape[1]), plan, token, foreign)
        sides = [count * side for count, side in zip(grid, token, strict=True)]
        recipe.architecture["trained"] = sides
        recipe.patch = _sides(sides)
        recipe.grids["inner.eva.pos_embed"] = grid
    return recipe


def _grid(
    tokens: int, plan: Mapping[str, Any], token: list[int], foreign: ForeignFile
) -> tuple[int, ...]:
    """Return the grid of the positions: of a patch in the plan if it fits, else a cube."""
    patches = (_configuration(plan).get("patch_size"), plan.get("recommended_downstream_patchsize"))
    for patch in patches:
        if sides := _sides(patch):
            grid = tuple(side // step for side, step in zip(sides, token, strict=True))
            if math.prod(grid) == tokens:
                return grid
    if (grid := cube(tokens)) is None:
        raise CheckpointError(
            "the patch that positions are made for must be known",
            file=foreign.path,
            found=f"{tokens} positions, not of a cube",
        )
    return grid


def _prefix(plan: Mapping[str, Any]) -> str:
    # A plain encoder's stem is its first stage.
    stem = str(plan.get("key_to_stem", "encoder.stem"))
    return stem.removesuffix("stages.0").removesuffix("stem")


def _arch_kwargs(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    return (plan.get("architecture_plans") or {}).get("arch_kwargs") or {}


def _configuration(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of the plan: one, or the only one of several by name."""
    found = (plan.get("pretrain_plan") or {}).get("configurations") or {}
    if "spacing" in found or "patch_size" in found:
        return found
    return next((c for c in found.values() if isinstance(c, Mapping)), {})


def _sides(values: Any) -> tuple[int, int, int] | None:
    if values is None or len(values) != 3:
        return None
    d, h, w = (int(v) for v in values)
    return d, h, w
