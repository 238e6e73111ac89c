"""timm's 2D networks: CNNs inflated to 3D, transformers with their tokens spread over the depth."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..core.checkpoints import state_of
from ..core.errors import CheckpointError
from ..core.registry import build
from ..encoders import ENCODERS
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource

HEADS = ("fc.", "head.", "classifier.", "last_linear.", "fc_norm.", "cls_token", "reg_token")
"""What only classification wants."""


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
        vit = foreign.tensors.get("patch_embed.proj.weight")
        if vit is not None and vit.ndim == 4 and "blocks.0.attn.qkv.weight" in foreign.tensors:
            return "names are a ViT's in timm, kernels are 2D"
        for name, what in FIRST.items():
            first = foreign.tensors.get(name)
            if first is not None and first.ndim == 4:
                return f"names are a {what}'s, kernels are 2D"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Build our encoder from the 2D weights for one gray channel, and take its tensors."""
        if "blocks.0.attn.qkv.weight" in foreign.tensors:
            return _vit(foreign, request)
        model = request.architecture.get("model") or _model(foreign)
        if not model:
            raise CheckpointError(
                "the model's name must be known",
                file=foreign.path,
                remedy="give architecture name=timm_cnn model=resnet18, or the folder with "
                "config.json",
            )
        spec = {"name": "timm_cnn", "model": model.split(".")[0]}
        return _through(foreign, spec, "2D kernel repeated along the depth, divided by it")


def _vit(foreign: ForeignFile, request: Request) -> Recipe:
    tensors = foreign.tensors
    width = int(tensors["patch_embed.proj.weight"].shape[0])
    depth = 1 + max(int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name)))
    spec = {
        "name": "vit",
        "width": width,
        "depth": depth,
        "heads": max(width // 64, 1),  # timm's ViTs: 64 channels a head
        "layer_scale": 1.0 if "blocks.0.ls1.gamma" in tensors else 0.0,
    }
    recipe = _through(
        foreign, spec | request.architecture, "2D kernel or positions spread over the depth"
    )
    recipe.fresh = ("pyramid.",)
    return recipe


def _through(foreign: ForeignFile, spec: dict[str, Any], how: str) -> Recipe:
    """Let the encoder itself read the 2D weights, and take what it made of them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({k: t.contiguous().clone() for k, t in foreign.tensors.items()}, file)
        try:
            encoder = build(ENCODERS, {**spec, "weights": str(file)}, in_channels=1)
        except CheckpointError as error:
            raise CheckpointError(
                error.rule, file=foreign.path, found=error.found, remedy=error.remedy
            ) from None
    weights = {n: t for n, t in state_of(encoder).items() if not n.startswith("pyramid.")}
    recipe = Recipe(spec, weights, colours=True, pretext="ImageNet or other photographs (2D)")
    recipe.adapted = {
        name: how if name not in encoder.stem else f"3 colours summed to one gray; {how}"
        for name, tensor in weights.items()
        if tensor.ndim == 5 or name == "pos_embed"
    }
    recipe.unused = [name for name in foreign.tensors if name.startswith(HEADS)]
    recipe.notes.append("photographs were scaled by ImageNet's mean; hilum gives HU and SUV")
    return recipe


def _model(foreign: ForeignFile) -> str:
    """Return the name in timm's config.json; transformers' lists classes instead."""
    found = (foreign.about.get("config") or {}).get("architecture")
    return found if isinstance(found, str) else ""
