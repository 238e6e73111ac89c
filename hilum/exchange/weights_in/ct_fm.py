"""CT-FM's SegResNet encoder, contrastively pretrained on 148,000 CTs."""

from __future__ import annotations

from pathlib import Path

from .reading import ForeignFile
from .segres_names import is_segres, is_whole, norm_of, segres_recipe
from .source import Recipe, Request, WeightSource, written


class CtFmSource(WeightSource):
    """A Lightning checkpoint or a HuggingFace folder of a `SegResEncoder` or `SegResNetDS`."""

    title = "CT-FM (and other SegResNets of MONAI)"
    home = "https://huggingface.co/project-lighter/ct_fm_feature_extractor"
    licence = "Apache-2.0 (model card)"
    obtain = "model.safetensors and config.json of the model page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know MONAI's encoder class by its first convolution."""
        return "names are SegResEncoder's or SegResNet's" if is_segres(foreign.tensors) else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read every size from the shapes."""
        asked = request.architecture.get("norm")
        recipe = segres_recipe(foreign, str(asked) if asked else norm_of(foreign.tensors))
        if is_whole(foreign.tensors) and recipe.architecture.get("norm") == "group" and not asked:
            recipe.notes.append(
                "a SegResNet whose norms have weights and no statistics: group norm, MONAI's "
                "default, is assumed; norm=instance says otherwise"
            )
        recipe.pretext = "SegResNet of MONAI; CT-FM's is contrast within a scan"
        recipe.spacing, recipe.patch = (3.0, 1.0, 1.0), (32, 128, 128)
        recipe.notes.append(
            "CT-FM was trained on CT of -1024 to 2048 HU, oriented SPL: hilum's is SAR, so height "
            "and width run the other way"
        )
        return recipe

    def example(self, folder: Path) -> Path:
        """Write the encoder class of a narrow SegResNet."""
        spec = {"name": "segresnet", "filters": 4, "blocks": [1, 1]}
        return written(folder / "ct_fm.pt", spec, "encoder.")
