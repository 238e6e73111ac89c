"""Models Genesis: its files are known by name; their 3D U-Net has no encoder here."""

from __future__ import annotations

import re

from ..core.errors import CheckpointError
from ..encoders import ENCODERS
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, prefix_before, renamed

FIRST = "down_tr64.ops.0.conv1.weight"
ENCODER = "unet3d"
"""The encoder that its names are made for, if the table has one."""


class ModelsGenesisSource(WeightSource):
    """`down_tr64` to `down_tr512`: two convolutions each, batch norm, a maximum between them."""

    title = "Models Genesis"
    home = "https://github.com/MrGiovanni/ModelsGenesis"
    licence = "non-commercial, see its LICENSE"
    obtain = "Genesis_Chest_CT.pt, by the form on its page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the first convolution by its name."""
        return "names are Models Genesis's: down_tr64" if self._prefix(foreign) is not None else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Take the down path, if there is an encoder for it."""
        if ENCODER not in ENCODERS:
            raise CheckpointError(
                "the network must be one that hilum has an encoder for",
                file=foreign.path,
                found="the 3D U-Net of Models Genesis",
                remedy=f"choose weights of one of {', '.join(ENCODERS)}",
            )
        here = re.escape(self._prefix(foreign) or "")
        weights, unused = renamed(foreign.tensors, [(here + r"(down_tr\d+\..*)", r"inner.\1")])
        first = int(weights[f"inner.{FIRST}"].shape[0])
        recipe = Recipe({"name": ENCODER, "features": first}, weights, unused)
        recipe.pretext, recipe.patch = "Models Genesis (restoration)", (32, 64, 64)
        recipe.notes.append("trained on CT of -1000 to 1000 HU scaled to 0 to 1")
        return recipe

    @staticmethod
    def _prefix(foreign: ForeignFile) -> str | None:
        return prefix_before(foreign.tensors, FIRST)
