"""STU-Net's weights, of nnU-Net v1 or v2: encoder and decoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from .nnunet_decoder import classes_in, meanings
from .nnunet_plans import args_of, plans_of
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, Whole, prefix_before, renamed, written

FIRST = "conv_blocks_context.0.0.conv3.weight"


class StunetSource(WeightSource):
    """`conv_blocks_context`, `conv_blocks_localization`, `upsample_layers`, `seg_outputs`."""

    title = "STU-Net (S, B, L)"
    home = "https://github.com/uni-medical/STU-Net"
    licence = "Apache-2.0"
    obtain = "small_ep4k.model, base_ep4k.model or large_ep4k.model of its page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the projection of the first block, which nnU-Net v1's own networks lack."""
        found = prefix_before(foreign.tensors, FIRST) is not None
        return "names are STU-Net's: conv_blocks_context with projections" if found else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read widths and depths from the shapes; strides are in no tensor."""
        plans = plans_of(foreign)
        foreign = plans.turned_back(foreign)
        here = re.escape(prefix_before(foreign.tensors, FIRST) or "")
        every, unused = renamed(
            foreign.tensors, [(here + r"(conv_blocks_context\..*)", r"inner.\1")]
        )
        ups = "upsample_layers|conv_blocks_localization|seg_outputs"
        rest = {name: foreign.tensors[name] for name in unused}
        decoder, unused = renamed(rest, [(here + rf"((?:{ups})\..*)", r"\1")])
        depths = _depths(every, "inner.conv_blocks_context")
        first = "inner.conv_blocks_context"
        features = [int(every[f"{first}.{n}.0.conv1.weight"].shape[0]) for n in range(len(depths))]
        architecture: dict[str, Any] = {"name": "stunet", "features": features, "blocks": depths}
        recipe = Recipe(architecture, every, unused)
        recipe.pretext = "supervised segmentation (STU-Net)"
        recipe.spacing = plans.spacing or (1.5, 1.5, 1.5)
        recipe.patch = plans.patch or (128, 128, 128)
        recipe.notes.append(
            "trained on CT scaled by the mean and deviation of TotalSegmentator's foreground"
        )
        if plans.strides is not None:
            architecture["strides"] = _strides(plans.strides, len(depths))
        else:
            recipe.notes.append(
                "no tensor tells the strides: 2 at every stage as in the released weights is "
                "assumed; set strides=[[1,1,1],...] for a network of other plans"
            )
        heads = [name for name in decoder if re.fullmatch(r"seg_outputs\.\d+\.weight", name)]
        if heads:
            blocks = _depths(decoder, "conv_blocks_localization")
            spec = {"name": "stunet", "blocks": blocks, "deep_supervision": len(heads) > 1}
            labels = args_of(foreign).get("dataset_json") or {}
            known = classes_in(labels.get("labels") or {})
            channels = int(decoder[heads[0]].shape[0])
            recipe.whole = Whole(
                spec, decoder, meanings(known, channels), tuple(n for n in rest if n not in unused)
            )
        plans.note(recipe)
        return recipe

    def example(self, folder: Path) -> Path:
        """Write the way down of a small network."""
        spec = {"name": "stunet", "features": [4, 8, 8], "blocks": [1, 2, 1]}
        return written(folder / "small.model", spec, group="state_dict")


def _strides(planned: Sequence[Any], stages: int) -> list[Any]:
    """Return the strides of plans as STU-Net's trainer fits them to its stages."""
    found = list(planned[:stages])
    return [*found, *[[1, 1, 1]] * (stages - len(found))]


def _depths(tensors: Mapping[str, Tensor], start: str) -> list[int]:
    found: dict[int, int] = {}
    for name in tensors:
        if place := re.match(re.escape(start) + r"\.(\d+)\.(\d+)\.", name):
            stage, block = int(place[1]), int(place[2])
            found[stage] = max(found.get(stage, 0), block + 1)
    return [found[stage] for stage in sorted(found)]
