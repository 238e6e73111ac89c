"""SuPreM's supervised weights: Swin UNETR, SegResNet and U-Net below `backbone`."""

from __future__ import annotations

import re
from pathlib import Path

from .models_genesis import FIRST, genesis_recipe
from .reading import ForeignFile
from .segres_names import OLD, segres_recipe
from .source import Recipe, Request, WeightSource, prefix_before, written
from .swin_names import is_swin, swin_recipe


class SupremSource(WeightSource):
    """`net` next to `optimizer`, `scheduler` and `epoch`; names with one or two parts in front."""

    title = "SuPreM"
    home = "https://github.com/MrGiovanni/SuPreM"
    licence = "CC-BY-NC-ND-4.0"
    obtain = "supervised_suprem_swinunetr_2100.pth, ..._segresnet_2100.pth or ..._unet_2100.pth"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the group `net` with its neighbours, or `backbone` before a known network."""
        below = any(re.match(r"(?:\w+\.)?backbone\.", name) for name in foreign.tensors)
        known = (
            is_swin(foreign.tensors)
            or prefix_before(foreign.tensors, OLD) is not None
            or prefix_before(foreign.tensors, FIRST) is not None
        )
        if known and foreign.group == "net":
            return "its network lies in net, as SuPreM's"
        return "names begin with backbone, as SuPreM's" if known and below else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read sizes from the shapes; its Swin is the first one, its SegResNet has group norm."""
        if is_swin(foreign.tensors):
            recipe = swin_recipe(foreign)
        elif prefix_before(foreign.tensors, OLD) is not None:
            recipe = segres_recipe(foreign, norm="group")
        else:
            recipe = genesis_recipe(foreign)
        recipe.pretext = "supervised segmentation of 25 organs (SuPreM)"
        recipe.spacing, recipe.patch = (1.5, 1.5, 1.5), (96, 96, 96)
        recipe.notes.append("trained on CT of -175 to 250 HU scaled to 0 to 1")
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a narrow U-Net in the group that the tool keeps it in."""
        spec = {"name": "unet3d", "features": 4}
        return written(folder / "unet.pth", spec, "module.backbone.", "net", epoch=1)
