"""timm's 2D networks: CNNs inflated to 3D, transformers with their tokens spread over the depth."""

from __future__ import annotations

import re

from torch import Tensor

from ..core.errors import CheckpointError
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource
from .through import through

SLICES = ("fine.", "levels.", "mixers.")
"""What `slices` adds to a 2D network."""

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
        name = model.removeprefix("timm/").split(".")[0]
        if request.architecture.get("name", "timm_cnn") == "slices" or not _inflates(name):
            spec = {"name": "slices", "model": f"timm/{name}"}
            recipe = through(foreign, spec | request.architecture, SLICES, lambda name, tensor: "")
        else:
            spec = {"name": "timm_cnn", "model": name}
            recipe = through(foreign, spec, (), _inflated)
        recipe.pretext = "ImageNet or other photographs (2D)"
        return recipe


def _inflates(model: str) -> bool:
    from ..encoders.timm_cnn import MODELS

    return model in MODELS


def _inflated(name: str, tensor: Tensor) -> str:
    return "2D kernel repeated along the depth, divided by it" if tensor.ndim == 5 else ""


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
    recipe = through(foreign, spec | request.architecture, ("pyramid.",), _spread)
    recipe.pretext = "ImageNet or other photographs (2D)"
    return recipe


def _spread(name: str, tensor: Tensor) -> str:
    flat = tensor.ndim == 5 or name == "pos_embed"
    return "2D kernel or positions spread over the depth" if flat else ""


def _model(foreign: ForeignFile) -> str:
    """Return the name in timm's config.json; transformers' lists classes instead."""
    found = (foreign.about.get("config") or {}).get("architecture")
    return found if isinstance(found, str) else ""
