"""Models Genesis: its plain 3D U-Net, down and up again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hilum.encoders.networks import Output, reconstructions_of

from .nnunet_decoder import meanings
from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, Whole, prefix_before, renamed, written

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
        """Take the way down, and the way up, whose sigmoid restores the scaled CT."""
        restored = reconstructions_of(request.modalities)
        recipe = genesis_recipe(foreign, restored if len(restored) == 1 else ())
        recipe.pretext, recipe.patch = "Models Genesis (restoration)", (32, 64, 64)
        recipe.notes.append("trained on CT of -1000 to 1000 HU scaled to 0 to 1")
        return recipe

    @staticmethod
    def _prefix(foreign: ForeignFile) -> str | None:
        return prefix_before(foreign.tensors, FIRST)

    def example(self, folder: Path) -> Path:
        """Write the way down of a narrow network."""
        spec = {"name": "unet3d", "features": 4}
        return written(folder / "Genesis.pt", spec, "module.", "state_dict")


def genesis_recipe(foreign: ForeignFile, outputs: Sequence[Output] = ()) -> Recipe:
    """Return the recipe of a U-Net with these names; running statistics are never used there.

    Args:
        foreign: The file.
        outputs: What its heads mean, if there are as many.
    """
    here = re.escape(prefix_before(foreign.tensors, FIRST) or "")
    parts = r"(down_tr\d+\.ops\.\d\.(?:conv1|bn1)\.(?:weight|bias))"
    weights, unused = renamed(foreign.tensors, [(here + parts, r"inner.\1")])
    first = int(weights[f"inner.{FIRST}"].shape[0])
    recipe = Recipe({"name": "unet3d", "features": first}, weights, unused)
    recipe.whole, recipe.unused = _way_up(foreign, unused, outputs)
    recipe.notes.append("normalised by each sample, as the source does in a batch of one")
    return recipe


def _way_up(
    foreign: ForeignFile, unused: Sequence[str], outputs: Sequence[Output]
) -> tuple[Whole | None, list[str]]:
    """Return the decoder, if the file has one, and the names that are no part of the network."""
    here = re.escape(prefix_before(foreign.tensors, FIRST) or "")
    rest = {name: foreign.tensors[name] for name in unused}
    layers = r"((?:up_conv|ops\.\d\.(?:conv1|bn1))\.(?:weight|bias))"
    rules = [
        (here + rf"up_tr{wide}\.{layers}", rf"ups.{place}.\1")
        for place, wide in enumerate((256, 128, 64))
    ]
    rules.append((here + r"out_tr\.(final_conv\..*)", r"\1"))
    found, others = renamed(rest, rules)
    head = found.get("final_conv.weight")
    if head is None:
        return None, list(unused)
    own = tuple(name for name in rest if name not in set(others))
    known = meanings(outputs, int(head.shape[0]))
    return Whole({"name": "unet3d"}, found, known, own), others
