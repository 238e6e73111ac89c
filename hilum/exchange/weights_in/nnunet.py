"""Checkpoints of nnU-Net v2: a whole segmenter and its plans."""

from __future__ import annotations

from pathlib import Path

from hilum.core.errors import CheckpointError

from .nnunet_decoder import classes_in, strides_of, whole_of
from .nnunet_plans import Plans, args_of, plans_of
from .reading import ForeignFile
from .residual_unet import (
    SMALL,
    architecture_of,
    check_blocks,
    encoder_weights,
    is_plain,
    is_residual,
)
from .source import Recipe, Request, WeightSource, written
from .swin_names import is_swin, swin_recipe

ZSCORE = "ZScoreNormalization"

NAMES = {"ct": "ct", "pet": "pet", "pt": "pet", "suv": "pet", "mri": "mr", "mr": "mr", "us": "us"}
"""Our modality of nnU-Net's channel names, lower case; others stay unknown."""


class NnunetSource(WeightSource):
    """`checkpoint_final.pth` of a residual or plain U-Net; anisotropic kernels are widened."""

    title = "nnU-Net v2 (default and ResEnc plans)"
    home = "https://github.com/MIC-DKFZ/nnUNet"
    licence = ""
    obtain = "fold_0/checkpoint_final.pth of a training, or of a published model"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the plans that every checkpoint carries, or the names of its encoders."""
        if foreign.group == "network_weights" and "plans" in args_of(foreign):
            return "it holds network_weights, and plans in init_args"
        if is_residual(foreign.tensors) or is_plain(foreign.tensors):
            return "names are those of nnU-Net's U-Net: encoder.stages"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read stages from the names, strides and spacing from the plans."""
        classes = classes_in((args_of(foreign).get("dataset_json") or {}).get("labels") or {})
        plans = plans_of(foreign)
        if is_swin(foreign.tensors):
            plans.check_order(foreign, "a Swin UNETR")
            return self._told(foreign, plans, swin_recipe(foreign, classes))
        if not is_residual(foreign.tensors) and not is_plain(foreign.tensors):
            raise CheckpointError(
                "nnU-Net's network must be its default U-Net, one with residual blocks, or a "
                "Swin UNETR",
                file=foreign.path,
                found=f"names such as {next(iter(foreign.tensors))}",
                remedy="import weights of one of these",
            )
        file = plans.turned_back(foreign)
        weights, rest = encoder_weights(file.tensors)
        whole, unused = whole_of({name: file.tensors[name] for name in rest}, classes)
        known = plans.strides or strides_of(file.tensors)
        recipe = Recipe(architecture_of(file, weights, known), weights, unused, whole=whole)
        check_blocks(foreign, plans.layers)
        plans.note(recipe)
        if known is None:
            recipe.notes.append("no plans in the file: a stride of 2 between stages is assumed")
        return self._told(foreign, plans, recipe)

    @staticmethod
    def _told(foreign: ForeignFile, plans: Plans, recipe: Recipe) -> Recipe:
        """Add what plans and dataset.json say."""
        recipe.pretext = "supervised segmentation (nnU-Net)"
        recipe.seen = _channels(foreign)
        recipe.spacing, recipe.patch = plans.spacing, plans.patch
        schemes = [str(name) for name in plans.configuration.get("normalization_schemes") or ()]
        recipe.zscored = tuple(name == ZSCORE for name in schemes) or (False,)
        others = [name for name in schemes if name != ZSCORE]
        if others or not schemes:
            found = ", ".join(dict.fromkeys(others)) or "a scheme that the file does not name"
            recipe.notes.append(f"nnU-Net scaled channels by {found}; hilum keeps HU and SUV")
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a small residual encoder next to plans."""
        plans = {"configurations": {"3d": {"normalization_schemes": [ZSCORE]}}}
        about = {"init_args": {"plans": plans, "configuration": "3d"}}
        file = folder / "checkpoint_final.pth"
        return written(file, SMALL, "encoder.", "network_weights", **about)


def _channels(foreign: ForeignFile) -> tuple[str, ...]:
    """Return the modality of each channel if `dataset.json` names them all as we do."""
    named = (args_of(foreign).get("dataset_json") or {}).get("channel_names") or {}
    found = [NAMES.get(str(named[key]).lower()) for key in sorted(named, key=int)]
    ours = tuple(name for name in found if name)
    return ours if len(ours) == len(found) == len(set(ours)) else ()
