"""timm's 2D networks: CNNs inflated, ViTs spread over the depth, and any of them slice by slice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.core.errors import CheckpointError

from .from_2d import through
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource

SLICES = ("fine.", "levels.", "mixers.")
"""What `slices` adds to a 2D network."""

EMBED = "patch_embed.proj.weight"
PLAIN = (EMBED, "patch_embed.proj.bias", "pos_embed", "blocks.0.attn.qkv.bias")
"""What a plain ViT has: DINOv3 turns its tokens instead of adding positions."""

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16}
"""Attention heads by the width, as in ViT-Ti, S, B and L."""

FIRST = {"layer1.0.conv1.weight": "ResNet", "s1.b1.conv1.conv.weight": "RegNet"}
"""A kernel of the first block, by which a CNN without a config is known."""


class TimmHubSource(WeightSource):
    """A folder or file from `timm/...` on the hub, or of `timm`'s or torchvision's own names."""

    title = "timm / torchvision (2D), ImageNet"
    home = "https://huggingface.co/timm"
    licence = "of the model page (often Apache-2.0)"
    obtain = "model.safetensors and config.json of a model page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know timm's config, or 2D kernels under a ResNet's or a ViT's names."""
        if name := _model(foreign):
            return f"config.json names timm's {name}"
        embed = foreign.tensors.get(EMBED)
        if embed is not None and embed.ndim == 4 and "blocks.0.attn.qkv.weight" in foreign.tensors:
            return "names are a ViT's in timm, kernels are 2D"
        for name, what in FIRST.items():
            first = foreign.tensors.get(name)
            if first is not None and first.ndim == 4:
                return f"names are a {what}'s, kernels are 2D"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Build our encoder from the 2D weights for one gray channel, and take its tensors."""
        name = str(request.architecture.get("model") or _model(foreign))
        name = name.removeprefix("timm/").split(".")[0]
        kind = request.architecture.get("name") or _default(foreign, name)
        if kind == "vit":
            recipe = _vit(foreign, request)
        elif not name:
            raise CheckpointError(
                "the model's name must be known",
                file=foreign.path,
                remedy="give name=timm_cnn model=resnet18 after the file, or the folder with "
                "config.json",
            )
        elif kind == "slices":
            spec: dict[str, Any] = {"name": "slices", "model": f"timm/{name}"}
            if side := _side(foreign):
                spec["side"] = side
            given = {key: v for key, v in request.architecture.items() if key != "model"}
            recipe = through(foreign, spec | given, SLICES, lambda name, tensor: "")
        else:
            spec = {"name": "timm_cnn", "model": name}
            recipe = through(foreign, spec | request.architecture, (), _inflated)
        recipe.pretext = "ImageNet or other photographs (2D)"
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a ViT of one block and no name, which its tensors tell."""
        from timm.models.vision_transformer import VisionTransformer

        made = VisionTransformer(32, 8, embed_dim=192, depth=1, num_heads=3, num_classes=2)
        torch.save(made.state_dict(), folder / "vit.pth")
        return folder / "vit.pth"


def _default(foreign: ForeignFile, model: str) -> str:
    """Return the encoder that takes over most: in 3D where it can, else slice by slice."""
    tensors = foreign.tensors
    widths = {v.shape[1] for key, v in tensors.items() if key.endswith(".attn.qkv.weight")}
    # Hiera's tokens grow wider from stage to stage.
    if all(name in tensors for name in PLAIN) and len(widths) == 1:
        return "vit"
    return "timm_cnn" if not model or _inflates(model) else "slices"


def _side(foreign: ForeignFile) -> int | None:
    """Return the side of the images that learned positions are made for, or nothing without."""
    places, embed = foreign.tensors.get("pos_embed"), foreign.tensors.get(EMBED)
    if places is None or embed is None:
        return None
    # Hiera's first layer reads 7 pixels and moves by 4; that of a ViT moves by its size.
    step = 4 if embed.shape[-1] == 7 else int(embed.shape[-1])
    return isqrt(int(places.shape[1])) * step


def _inflates(model: str) -> bool:
    from hilum.encoders.timm_cnn import MODELS

    return model in MODELS


def _inflated(name: str, tensor: Tensor) -> str:
    return "2D kernel repeated along the depth, divided by it" if tensor.ndim == 5 else ""


def _vit(foreign: ForeignFile, request: Request) -> Recipe:
    tensors = foreign.tensors
    width = int(tensors[EMBED].shape[0])
    depth = 1 + max(int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name)))
    spec = {
        "name": "vit",
        "width": width,
        "depth": depth,
        "heads": request.architecture.get("heads") or _heads(foreign, width),
        "layer_scale": 1.0 if "blocks.0.ls1.gamma" in tensors else 0.0,
    }
    recipe = through(foreign, spec | request.architecture, ("pyramid.",), _spread)
    recipe.pretext = "ImageNet or other photographs (2D)"
    return recipe


def _heads(foreign: ForeignFile, width: int) -> int:
    """Return the attention heads, which no tensor tells: as config.json says, else by the width."""
    import timm

    name, asked = _model(foreign).split(".")[0], _config(foreign).get("model_args")
    if isinstance(asked, Mapping) and "num_heads" in asked:
        return int(asked["num_heads"])
    if timm.is_model(name):
        with torch.device("meta"):
            made: Any = timm.create_model(name, pretrained=False)
        if getattr(made, "embed_dim", None) == width:
            return int(made.blocks[0].attn.num_heads)
    if width not in HEADS:
        raise CheckpointError(
            "the heads of the ViT must be known",
            file=foreign.path,
            found=f"width {width}, and no config.json that names a model of timm with it",
            remedy="give heads=16 or as many as it has after the file, or the folder with "
            "config.json",
        )
    return HEADS[width]


def _spread(name: str, tensor: Tensor) -> str:
    flat = tensor.ndim == 5 or name == "pos_embed"
    return "2D kernel or positions spread over the depth" if flat else ""


def _model(foreign: ForeignFile) -> str:
    """Return the name in timm's config.json; transformers' lists classes instead."""
    found = _config(foreign).get("architecture")
    return found if isinstance(found, str) else ""


def _config(foreign: ForeignFile) -> Mapping[str, Any]:
    found = foreign.about.get("config")
    return found if isinstance(found, Mapping) else {}
