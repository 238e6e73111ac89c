"""Checkpoints of nnU-Net v2: a whole segmenter and its plans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.core.errors import CheckpointError

from .nnunet_decoder import classes_in, strides_of, whole_of
from .reading import ForeignFile
from .residual_unet import SMALL, architecture_of, encoder_weights, is_plain, is_residual
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
        if foreign.group == "network_weights" and "plans" in _args(foreign):
            return "it holds network_weights, and plans in init_args"
        if is_residual(foreign.tensors) or is_plain(foreign.tensors):
            return "names are those of nnU-Net's U-Net: encoder.stages"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read stages from the names, strides and spacing from the plans."""
        classes = classes_in((_args(foreign).get("dataset_json") or {}).get("labels") or {})
        if is_swin(foreign.tensors):
            return self._told(foreign, swin_recipe(foreign, classes))
        if not is_residual(foreign.tensors) and not is_plain(foreign.tensors):
            raise CheckpointError(
                "nnU-Net's network must be its default U-Net, one with residual blocks, or a "
                "Swin UNETR",
                file=foreign.path,
                found=f"names such as {next(iter(foreign.tensors))}",
                remedy="import weights of one of these",
            )
        weights, rest = encoder_weights(foreign.tensors)
        whole, unused = whole_of({name: foreign.tensors[name] for name in rest}, classes)
        configuration = _configuration(foreign)
        kwargs = (configuration.get("architecture") or {}).get("arch_kwargs") or {}
        # Plans of before version 2.4 have no architecture, but the strides under another name.
        strides = kwargs.get("strides") or configuration.get("pool_op_kernel_sizes")
        known = strides or strides_of(foreign.tensors)
        recipe = Recipe(architecture_of(foreign, weights, known), weights, unused, whole=whole)
        if known is None:
            recipe.notes.append("no plans in the file: a stride of 2 between stages is assumed")
        return self._told(foreign, recipe)

    @staticmethod
    def _told(foreign: ForeignFile, recipe: Recipe) -> Recipe:
        """Add what plans and dataset.json say."""
        configuration = _configuration(foreign)
        recipe.pretext = "supervised segmentation (nnU-Net)"
        recipe.seen = _channels(foreign)
        if "spacing" in configuration and len(configuration["spacing"]) == 3:
            d, h, w = (float(s) for s in configuration["spacing"])
            recipe.spacing = d, h, w
        if "patch_size" in configuration and len(configuration["patch_size"]) == 3:
            d, h, w = (int(s) for s in configuration["patch_size"])
            recipe.patch = d, h, w
        schemes = [str(name) for name in configuration.get("normalization_schemes") or ()]
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


def _args(foreign: ForeignFile) -> Mapping[str, Any]:
    found = foreign.about.get("init_args")
    return found if isinstance(found, Mapping) else {}


def _configuration(foreign: ForeignFile) -> dict[str, Any]:
    """Return the configuration that was trained, with what it inherits."""
    args = _args(foreign)
    every = (args.get("plans") or {}).get("configurations") or {}
    chain, name = [], args.get("configuration")
    while name in every and every[name] not in chain:
        chain.append(every[name])
        name = every[name].get("inherits_from")
    merged: dict[str, Any] = {}
    for part in reversed(chain):
        merged |= part
    return merged


def _channels(foreign: ForeignFile) -> tuple[str, ...]:
    """Return the modality of each channel if `dataset.json` names them all as we do."""
    named = (_args(foreign).get("dataset_json") or {}).get("channel_names") or {}
    found = [NAMES.get(str(named[key]).lower()) for key in sorted(named, key=int)]
    ours = tuple(name for name in found if name)
    return ours if len(ours) == len(found) == len(set(ours)) else ()
