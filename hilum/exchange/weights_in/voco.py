"""VoCo's Swin UNETR weights, in the key styles of its first and second release."""

from __future__ import annotations

from pathlib import Path

from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, written
from .swin_names import SMALL, is_swin, swin_recipe


class VocoSource(WeightSource):
    """Names below `backbone.` or `swin_vit`, or a Swin UNETR v2 without them."""

    title = "VoCo / Large-Scale-Medical"
    home = "https://github.com/Luffy03/Large-Scale-Medical"
    licence = "Apache-2.0"
    obtain = "VoCo_B_SSL_head.pt, VoComni_B.pt, ... linked from its page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know VoCo's own prefixes; SuPreM, which also says `backbone`, is of the first Swin."""
        if not is_swin(foreign.tensors):
            return ""
        second = any(".layers1c." in name for name in foreign.tensors)
        if any("swin_vit." in name for name in foreign.tensors):
            return "names begin with swin_vit, as VoCo's"
        if second and any("backbone." in name for name in foreign.tensors):
            return "a Swin UNETR v2 below backbone, as VoCo's"
        if any(name.startswith(("student.", "teacher.")) for name in foreign.tensors):
            return "a Swin UNETR beside projection heads of student and teacher, as VoCo's"
        return "a Swin UNETR v2, as VoCo's" if second and foreign.group == "" else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read every size from the shapes: B, L and H differ in width alone."""
        recipe = swin_recipe(foreign)
        recipe.pretext, recipe.spacing = "VoCo (overlap contrast)", (1.5, 1.5, 1.5)
        recipe.patch = (64, 64, 64)
        recipe.notes.append("trained on CT of -175 to 250 HU scaled to 0 to 1")
        return recipe

    def example(self, folder: Path) -> Path:
        """Write the transformer of a narrow Swin UNETR v2."""
        return written(folder / "VoCo.pt", SMALL | {"v2": True}, "backbone.swinViT.")
