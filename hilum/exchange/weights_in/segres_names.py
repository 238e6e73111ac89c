"""Read MONAI's SegResNets from their names: the encoder class, and the older whole network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .nnunet_decoder import meanings
from .reading import ForeignFile
from .source import Recipe, Whole, prefix_before, renamed

OLD, NEW = "convInit.conv.weight", "conv_init.weight"


def is_segres(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of a SegResNet of either kind."""
    return any(prefix_before(tensors, first) is not None for first in (OLD, NEW))


def is_whole(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of MONAI's older, whole network."""
    return prefix_before(tensors, OLD) is not None


def norm_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the norm that MONAI's older network has by default, where names do not speak against.

    Its group norm has weights and no running statistics; an instance norm has neither.
    """
    first = next((tensor for name, tensor in tensors.items() if name.endswith(OLD)), None)
    if first is None or len(first) % 8:
        return None
    return "group" if any(name.endswith(".norm1.weight") for name in tensors) else None


def segres_weights(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the encoder's tensors under our names, and the names left over.

    The older network begins a level with its stride, where the encoder class ends the one above.
    """
    if (prefix := prefix_before(tensors, NEW)) is not None:
        here = re.escape(prefix)
        return renamed(tensors, [(here + r"((?:conv_init|layers)\..*)", r"inner.\1")])
    here = re.escape(prefix_before(tensors, OLD) or "")
    found, unused = renamed(
        tensors,
        [
            (here + r"convInit\.conv\.(.*)", r"inner.conv_init.\1"),
            (here + r"down_layers\.(\d+\.\d+)\.(conv[12])\.conv\.(.*)", r"block.\1.\2.\3"),
            (here + r"down_layers\.(\d+\.\d+)\.(norm[12])\.(.*)", r"block.\1.\2.\3"),
            (here + r"down_layers\.(\d+)\.0\.conv\.(.*)", r"step.\1.\2"),
        ],
    )
    return {_new(name): tensor for name, tensor in found.items()}, unused


def _new(name: str) -> str:
    kind, *rest = name.split(".")
    if kind == "block":
        level, place, *end = rest
        return f"inner.layers.{level}.blocks.{int(place) - 1}." + ".".join(end)
    if kind == "step":
        return f"inner.layers.{int(rest[0]) - 1}.downsample." + ".".join(rest[1:])
    return name


def segres_recipe(foreign: ForeignFile, norm: str | None = None) -> Recipe:
    """Return the recipe of a SegResNet: sizes are in the shapes, its norm only in part.

    Args:
        foreign: The file.
        norm: What the network normalises by, where the source knows; `batch` shows by its
            statistics, others do not.
    """
    weights, unused = segres_weights(foreign.tensors)
    blocks: dict[int, int] = {}
    for name in weights:
        if place := re.match(r"inner\.layers\.(\d+)\.blocks\.(\d+)\.", name):
            level, block = int(place[1]), int(place[2])
            blocks[level] = max(blocks.get(level, 0), block + 1)
    recipe = Recipe(
        {
            "name": "segresnet",
            "filters": int(weights["inner.conv_init.weight"].shape[0]),
            "blocks": [blocks[level] for level in sorted(blocks)],
        },
        weights,
        unused,
    )
    recipe.whole, recipe.unused = _decoder(foreign, unused)
    found = "batch" if any(name.endswith(".running_mean") for name in weights) else norm
    if found not in (None, "instance"):
        recipe.architecture["norm"] = found
        if recipe.whole is not None:
            recipe.whole.decoder["norm"] = found
    return recipe


def _decoder(foreign: ForeignFile, unused: list[str]) -> tuple[Whole | None, list[str]]:
    """Return the decoder of either kind of network, and the names that it does not want."""
    rest = {name: foreign.tensors[name] for name in unused}
    found, others = renamed(rest, [(r"(?:.*\.)?((?:up_layers|up_samples|conv_final)\..*)", r"\1")])
    old = any(name.startswith("conv_final.") for name in found)
    block = r"up_layers\.(\d+)\.(\d+)\." if old else r"up_layers\.(\d+)\.blocks\.(\d+)\."
    counts: dict[int, int] = {}
    for name in found:
        if place := re.match(block, name):
            counts[int(place[1])] = max(counts.get(int(place[1]), 0), int(place[2]) + 1)
    pattern = r"conv_final\.2\.conv\.weight" if old else r"up_layers\.\d+\.head\.weight"
    heads = [name for name in found if re.fullmatch(pattern, name)]
    if not counts or not heads:
        return None, unused
    spec: dict[str, Any] = {"blocks": [counts[level] for level in sorted(counts)]}
    if old:
        spec = {"name": "segresnet"} | spec
    else:
        deep = {"deep_supervision": len(heads) > 1, "heads": len(heads)}
        spec = {"name": "segresnet_ds"} | spec | deep
    known = meanings((), int(found[heads[0]].shape[0]))
    return Whole(spec, found, known, tuple(n for n in rest if n not in set(others))), others
