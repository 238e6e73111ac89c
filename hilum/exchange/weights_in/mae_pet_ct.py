"""Masked autoencoders for PET/CT: nnU-Net's plain U-Net or a Swin UNETR v2 with their heads."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from hilum.encoders.networks import reconstructions_of

from .nnunet_decoder import strides_of, whole_of
from .reading import ForeignFile
from .residual_unet import SMALL, architecture_of, encoder_weights, is_plain, is_residual
from .source import Recipe, Request, WeightSource, written
from .swin_names import is_swin, swin_recipe

PREFIXES = re.compile(r"(?:(?:nnunet|encoder_decoder|swin_unetr|swin|mae|model|net|module)\.)+")


class MaePetCtSource(WeightSource):
    """A whole network below `nnunet.`, `encoder_decoder.` or both."""

    title = "MAE for PET/CT"
    home = "https://github.com/liu-xiaofeng/MAE-for-PET-CT"
    licence = "not stated"
    obtain = "nnunet_v2_mim_best.pth, swin_mae_best_v2.pth or swin_small_mae_best.pth of its page"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the prefixes in front of a network that reconstructs its own channels."""
        if not all(re.match(r"(?:nnunet|encoder_decoder)\.", name) for name in foreign.tensors):
            return ""
        tensors = _plain(foreign)
        known = is_plain(tensors) or is_residual(tensors) or is_swin(tensors)
        return "names begin with nnunet or encoder_decoder, as those of MAE for PET/CT" * known

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read the network below the prefixes; its outputs are its inputs, reconstructed."""
        bare = replace(foreign, tensors=_plain(foreign))
        outputs = reconstructions_of(request.modalities)
        if is_swin(bare.tensors):
            recipe = swin_recipe(bare, outputs)
        else:
            weights, rest = encoder_weights(bare.tensors)
            whole, unused = whole_of({n: bare.tensors[n] for n in rest}, outputs)
            strides = strides_of(bare.tensors)
            recipe = Recipe(architecture_of(bare, weights, strides), weights, unused, whole=whole)
        recipe.pretext = "masked autoencoder for PET/CT (independent masks, 50 %)"
        recipe.spacing, recipe.patch = (3.0, 2.0, 2.0), (96, 128, 128)
        recipe.zscored = (True,)
        recipe.notes.append(
            "the file does not name its channels: give the modalities in its order, and expect "
            "volumes scaled by their own mean and deviation"
        )
        return recipe

    def example(self, folder: Path) -> Path:
        """Write a small residual encoder as the tool names it."""
        return written(folder / "best.pth", SMALL, "nnunet.encoder_decoder.encoder.")


def _plain(foreign: ForeignFile) -> dict[str, Tensor]:
    """Return the tensors without the prefixes in front of the network's own names."""
    found = {}
    for name, tensor in foreign.tensors.items():
        start = PREFIXES.match(name)
        found[name[start.end() :] if start else name] = tensor
    return found
