"""Swin UNETR's pretrained transformer, `model_swinvit.pt`, and any Swin UNETR that MONAI saved."""

from __future__ import annotations

from pathlib import Path

from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, written
from .swin_names import SMALL, is_swin, swin_recipe


class SwinUnetrSource(WeightSource):
    """MONAI's Swin UNETR in three styles: the transformer alone, the whole network, and DAE's.

    `model_swinvit.pt` calls the layers of its MLPs `fc1` and `fc2`, where MONAI has `linear1` and
    `linear2`; MONAI's own `load_from` copies by hand and lets one input channel be broadcast.
    """

    title = "MONAI Swin UNETR, model_swinvit.pt"
    home = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/tag/0.8.1"
    licence = "Apache-2.0"
    obtain = "model_swinvit.pt of the release assets"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the transformer by its names."""
        if not is_swin(foreign.tensors):
            return ""
        alone = "patch_embed.proj.weight" in foreign.tensors
        return "names are the Swin transformer's" + (", without swinViT" if alone else "")

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read every size from the shapes."""
        recipe = swin_recipe(foreign)
        recipe.pretext = "Swin UNETR (inpainting, rotation, contrast), or supervised"
        if "patch_embed.proj.weight" in foreign.tensors:
            recipe.spacing, recipe.patch = (2.0, 1.5, 1.5), (96, 96, 96)
            recipe.notes.append("trained on CT of -1000 to 1000 HU scaled to 0 to 1")
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a narrow transformer without the network around it."""
        return written(folder / "model_swinvit.pt", SMALL)
