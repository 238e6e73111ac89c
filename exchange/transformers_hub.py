"""HuggingFace folders of DINOv2 and VideoMAE, as `save_pretrained` writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..core.errors import CheckpointError
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, renamed

KNOWN = ("dinov2", "videomae")


class TransformersHubSource(WeightSource):
    """`config.json` says everything; no class of transformers is asked, so nothing goes online."""

    title = "HuggingFace transformers (DINOv2, VideoMAE)"
    home = "https://huggingface.co/facebook/dinov2-small"
    licence = "of the model page (DINOv2: Apache-2.0; VideoMAE: CC-BY-NC-4.0)"
    obtain = "the folder of `huggingface-cli download MODEL --local-dir DIR`"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know `model_type` in config.json."""
        kind = _config(foreign).get("model_type")
        return f"config.json says model_type {kind}" if kind else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Take sizes from the config, tensors by their names."""
        config = _config(foreign)
        kind = str(config.get("model_type"))
        if kind not in KNOWN:
            raise CheckpointError(
                f"the model must be one of {', '.join(KNOWN)}", file=foreign.path, found=kind
            )
        if not config.get("hidden_size"):
            raise CheckpointError("config.json must say hidden_size", file=foreign.path)
        recipe = _dinov2(foreign, config) if kind == "dinov2" else _videomae(foreign, config)
        recipe.colours = config.get("num_channels", 3) == 3
        recipe.pretext = f"{kind} on photographs or videos"
        recipe.notes.append("photographs were scaled by ImageNet's mean; hilum gives HU and SUV")
        return recipe


def _dinov2(foreign: ForeignFile, config: Mapping[str, Any]) -> Recipe:
    if config.get("patch_size", 14) != 14 or config.get("use_swiglu_ffn"):
        raise CheckpointError(
            "the DINOv2 must have patches of 14 pixels and plain MLPs",
            file=foreign.path,
            found=f"patch_size {config.get('patch_size')}, swiglu {config.get('use_swiglu_ffn')}",
            remedy="take small, base or large",
        )
    found, unused = _inside(foreign.tensors, "dinov2", "vit")
    found.pop("vit.embeddings.mask_token", None)
    weights = {_attention(name): tensor for name, tensor in found.items()}
    return Recipe(
        {
            "name": "vit_slices",
            "width": int(config["hidden_size"]),
            "depth": int(config.get("num_hidden_layers", 12)),
            "heads": int(config.get("num_attention_heads", 12)),
            "side": int(config.get("image_size", 224)),
        },
        weights,
        unused,
        fresh=("fine.", "levels.", "mixers."),
    )


def _attention(name: str) -> str:
    """Return the name in transformers 5 of a tensor that files keep under its older name."""
    name = name.replace(".attention.output.dense.", ".attention.o_proj.")
    return re.sub(
        r"\.attention\.attention\.(query|key|value)\.",
        lambda m: f".attention.{m[1][0]}_proj.",
        name,
    )


def _bias(name: str) -> str:
    """Return the name in transformers of a bias that VideoMAE's files keep under its own."""
    return re.sub(
        r"\.(query|value)_bias$",
        r".\1.bias",
        name.replace(".q_b", ".query_b").replace(".v_b", ".value_b"),
    )


def _videomae(foreign: ForeignFile, config: Mapping[str, Any]) -> Recipe:
    found, unused = _inside(foreign.tensors, "videomae", "inner")
    weights = {_bias(name): tensor for name, tensor in found.items()}
    side, patch = int(config.get("image_size", 224)), int(config.get("patch_size", 16))
    return Recipe(
        {
            "name": "videomae",
            "width": int(config["hidden_size"]),
            "depth": int(config.get("num_hidden_layers", 12)),
            "heads": int(config.get("num_attention_heads", 12)),
            "token": [int(config.get("tubelet_size", 2)), patch, patch],
            "trained": [int(config.get("num_frames", 16)), side, side],
        },
        weights,
        unused,
        # A model that pools means has no last norm.
        fresh=("pyramid.", "inner.layernorm."),
        patch=(int(config.get("num_frames", 16)), side, side),
    )


def _inside(
    tensors: Mapping[str, Tensor], prefix: str, ours: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the backbone's tensors, which a model with a head keeps below its own name."""
    inside = r"((?:embeddings|encoder|layernorm)\..*)"
    return renamed(tensors, [(rf"(?:{prefix}\.)?{inside}", rf"{ours}.\1")])


def _config(foreign: ForeignFile) -> Mapping[str, Any]:
    found = foreign.about.get("config")
    return found if isinstance(found, Mapping) else {}
