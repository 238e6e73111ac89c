"""Models Genesis: its plain 3D U-Net's way down."""

from __future__ import annotations

import re

from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, prefix_before, renamed

FIRST = "down_tr64.ops.0.conv1.weight"


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
        """Take the way down."""
        recipe = genesis_recipe(foreign)
        recipe.pretext, recipe.patch = "Models Genesis (restoration)", (32, 64, 64)
        recipe.notes.append("trained on CT of -1000 to 1000 HU scaled to 0 to 1")
        return recipe

    @staticmethod
    def _prefix(foreign: ForeignFile) -> str | None:
        return prefix_before(foreign.tensors, FIRST)


def genesis_recipe(foreign: ForeignFile) -> Recipe:
    """Return the recipe of a U-Net with these names; running statistics are never used there."""
    here = re.escape(prefix_before(foreign.tensors, FIRST) or "")
    parts = r"(down_tr\d+\.ops\.\d\.(?:conv1|bn1)\.(?:weight|bias))"
    weights, unused = renamed(foreign.tensors, [(here + parts, r"inner.\1")])
    first = int(weights[f"inner.{FIRST}"].shape[0])
    recipe = Recipe({"name": "unet3d", "features": first}, weights, unused)
    recipe.notes.append("normalised by each sample, as the source does in a batch of one")
    return recipe
