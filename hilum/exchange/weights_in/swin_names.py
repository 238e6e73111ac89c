"""Read MONAI's Swin transformer from its names, in every style that pretraining tools save it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from hilum.core.errors import CheckpointError
from hilum.encoders.networks import Output

from .nnunet_decoder import meanings
from .reading import ForeignFile
from .source import Recipe, Whole, renamed

WRAP = r"(?:(?:student|module|backbone|swin_unetr|model|net)\.)*"
"""What VoCo, SuPreM and trainers put before the network's own names."""

RULES = [
    # The whole Swin UNETR; VoCo writes swin_vit.
    (WRAP + r"(?:swinViT|swin_vit)\.(.*)", r"\1"),
    # model_swinvit.pt: the transformer alone.
    (r"((?:patch_embed|layers[1-4]c?)\..*)", r"\1"),
    # MONAI's disrupted autoencoders (DAE): one more number in the name.
    (r"encoder\.(layers[1-4]\.0\.)(?:\w\.)?((?:blocks|downsample)\..*)", r"\1\2"),
    (r"encoder\.(patch_embed\..*)", r"\1"),
]
INDEX = "relative_position_index"
EMBED = "patch_embed.proj.weight"
SMALL: dict[str, Any] = {
    "name": "swin",
    "width": 4,
    "blocks": [1, 1, 1, 1],
    "heads": [2, 2, 2, 2],
    "window": 3,
}
"""Our encoder in the examples of the sources that keep such a network."""


def swin_weights(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the transformer's tensors under our names, and the names left over."""
    plain, unused = renamed(tensors, RULES)
    found = {}
    for name, tensor in plain.items():
        # The tool that made model_swinvit.pt calls the layers of an MLP as timm does.
        new = re.sub(r"\.mlp\.fc([12])\.", r".mlp.linear\1.", name)
        if name.startswith("norm"):
            unused.append(name)
        else:
            found[f"inner.{new}"] = tensor
    return found, unused


def is_swin(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of a 3D Swin transformer."""
    weights, _ = swin_weights(tensors)
    embed = weights.get(f"inner.{EMBED}")
    return embed is not None and embed.ndim == 5 and "inner.layers1.0.blocks.0.norm1.weight" in (
        weights
    )  # fmt: skip


DECODER = r"(?:encoder(?:2|3|4|10)|decoder[1-5]|out)"


def swin_recipe(foreign: ForeignFile, outputs: Sequence[Output] = ()) -> Recipe:
    """Return the recipe of a Swin transformer, and of the Swin UNETR around it if it is there.

    Every size is in the shapes.

    Args:
        foreign: The file.
        outputs: What the heads of a whole Swin UNETR mean, where the source knows.

    Raises:
        CheckpointError: If a stage is missing.
    """
    weights, unused = swin_weights(foreign.tensors)
    blocks: dict[int, int] = {}
    for name in weights:
        if place := re.match(r"inner\.layers(\d)\.0\.blocks\.(\d+)\.", name):
            stage, block = int(place[1]), int(place[2])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    if sorted(blocks) != [1, 2, 3, 4]:
        raise CheckpointError(
            "the file must hold the four stages of a Swin transformer",
            file=foreign.path,
            found=f"stages {sorted(blocks)}",
            remedy="give the whole checkpoint, not a part of it",
        )
    tables = {s: _table(foreign, weights, s) for s in blocks}
    embed = weights[f"inner.{EMBED}"]
    window = round((round(tables[1].shape[0] ** (1 / 3)) + 1) / 2)
    if (2 * window - 1) ** 3 != tables[1].shape[0]:
        raise CheckpointError(
            "the window must be a cube", file=foreign.path, found=list(tables[1].shape)
        )
    architecture: dict[str, Any] = {
        "name": "swin",
        "width": int(embed.shape[0]),
        "blocks": [blocks[stage] for stage in sorted(blocks)],
        "heads": [int(tables[stage].shape[1]) for stage in sorted(tables)],
        "token": [int(side) for side in embed.shape[2:]],
        "window": window,
        "v2": any(name.startswith("inner.layers1c.") for name in weights),
    }
    # The index of relative positions follows from the window; old versions saved other orders.
    kept = {name: tensor for name, tensor in weights.items() if not name.endswith(INDEX)}
    recipe = Recipe(architecture, kept, unused, fresh=("fine.", *_indices(weights)))
    _add_decoder(foreign, recipe, outputs)
    return recipe


def _add_decoder(foreign: ForeignFile, recipe: Recipe, outputs: Sequence[Output]) -> None:
    """Add block of the image and decoder, if the file has all of them."""
    rest = {name: foreign.tensors[name] for name in recipe.unused}
    fine, others = renamed(rest, [(WRAP + r"encoder1\.(.*)", r"fine.\1")])
    decoder, unused = renamed(
        {name: rest[name] for name in others}, [(WRAP + rf"({DECODER}\..*)", r"\1")]
    )
    head = decoder.get("out.conv.conv.weight")
    if not fine or head is None or recipe.architecture["token"] != [2, 2, 2]:
        return
    recipe.architecture["fine"] = "block"
    recipe.weights |= fine
    recipe.fresh = tuple(name for name in recipe.fresh if name != "fine.")
    recipe.unused = unused
    own = tuple(name for name in others if name not in set(unused))
    known = meanings(outputs, int(head.shape[0]))
    recipe.whole = Whole({"name": "swin_unetr"}, decoder, known, own)


def _indices(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(
        name.replace("relative_position_bias_table", INDEX)
        for name in weights
        if name.endswith("relative_position_bias_table")
    )


def _table(foreign: ForeignFile, weights: Mapping[str, Tensor], stage: int) -> Tensor:
    name = f"inner.layers{stage}.0.blocks.0.attn.relative_position_bias_table"
    if name not in weights:
        raise CheckpointError(
            "the file must hold the tables of relative positions",
            file=foreign.path,
            found=f"none for stage {stage}",
            remedy="give the whole checkpoint, not a part of it",
        )
    return weights[name]
