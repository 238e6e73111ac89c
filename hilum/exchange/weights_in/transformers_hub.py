"""HuggingFace folders of 2D backbones and VideoMAE, as `save_pretrained` writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hilum.core.errors import CheckpointError

from .from_2d import through
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, renamed

SLICED: dict[str, tuple[str, tuple[str, ...]]] = {
    "dinov3_vit": (
        "dinov3",
        ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
         "num_register_tokens", "use_gated_mlp"),
    ),
    "dinov3_convnext": ("dinov3_convnext", ("hidden_sizes", "depths")),
    "convnext": ("convnext", ("hidden_sizes", "depths")),
    "convnextv2": ("convnextv2", ("hidden_sizes", "depths")),
    "swin": ("swin", ("embed_dim", "depths", "num_heads", "window_size")),
    "hiera": ("hiera", ("embed_dim", "depths", "num_heads")),
}  # fmt: skip
"""Our name in `slices` of each model type, and the keys of its config that sizes follow from."""

KNOWN = ("dinov2", "videomae", *SLICED)


class TransformersHubSource(WeightSource):
    """`config.json` says everything; no class of transformers is asked, so nothing goes online."""

    title = "HuggingFace transformers (DINOv2/v3, ConvNeXt, Swin, Hiera, VideoMAE)"
    home = "https://huggingface.co/facebook/dinov2-small"
    licence = "of the model page (DINOv2: Apache-2.0; VideoMAE: CC-BY-NC-4.0)"
    obtain = "the folder of `hf download MODEL --local-dir DIR`"

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
                f"the model must be one of {', '.join(KNOWN)}",
                file=foreign.path,
                found=kind,
                remedy="choose a model of one of these",
            )
        if kind in SLICED:
            recipe = _sliced(foreign, kind, config, request)
        elif not config.get("hidden_size"):
            raise CheckpointError(
                "config.json must say hidden_size",
                file=foreign.path,
                remedy="download the folder again",
            )
        else:
            recipe = (_dinov2 if kind == "dinov2" else _videomae)(foreign, config)
            recipe.colours = config.get("num_channels", 3) == 3
            recipe.notes.append(
                "photographs were scaled by ImageNet's mean; hilum gives HU and SUV"
            )
        recipe.pretext = f"{kind} on photographs or videos"
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a DINOv2 of one block as transformers does."""
        from transformers import Dinov2Config, Dinov2Model

        config = Dinov2Config(
            hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
        )
        Dinov2Model(config).save_pretrained(folder)
        return folder


def _sliced(foreign: ForeignFile, kind: str, config: Mapping[str, Any], request: Request) -> Recipe:
    """Let `slices` read any other 2D backbone: it knows the names that older files have."""
    model, keys = SLICED[kind]
    spec: dict[str, Any] = {
        "name": "slices",
        "model": model,
        "settings": {key: config[key] for key in keys if key in config},
    }
    side = config.get("image_size")
    if side is not None:
        spec["side"] = int(side[0] if isinstance(side, list) else side)
    fresh = ("fine.", "levels.", "mixers.", "hidden_states_norms")
    return through(foreign, spec | request.architecture, fresh, lambda name, tensor: "")


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
    unused += [name for name in foreign.tensors if name.endswith("embeddings.mask_token")]
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
