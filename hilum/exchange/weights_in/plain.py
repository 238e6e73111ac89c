"""Any state dict whose names are ours, ours below another prefix, or ours by given patterns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS

from .own import own_config
from .reading import ForeignFile
from .residual_unet import SMALL
from .source import Recipe, Request, WeightSource, renamed


class PlainSource(WeightSource):
    """The user names the architecture; names are matched by rules, else by their common end."""

    title = "any state dict"
    home = ""
    licence = ""
    renames = True
    obtain = "torch.save(model.state_dict(), file), or safetensors"

    def recognise(self, foreign: ForeignFile) -> str:
        """Take every file: this source is used by its name alone."""
        return "plain was asked for"

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Rename by the user's rules, else swap the prefix that brings most tensors home."""
        spec = request.architecture or _architecture(foreign)
        own = build(ENCODERS, spec, in_channels=len(request.modalities)).state_dict()
        if request.rename:
            weights, unused = _by_rules(foreign, request.rename)
        else:
            weights, unused = _by_prefix(foreign.tensors, own)
        return Recipe(dict(spec), weights, unused, notes=["names matched by pattern"])

    def example(self, folder: Path) -> Path:
        """Write an encoder folder of ours, with its architecture next to the weights."""
        encoder = build(ENCODERS, SMALL, in_channels=1)
        about = {"modalities": ("ct",), "spacing": (1, 1, 1), "patch": (8, 8, 8)}
        config = validate(EncoderConfig, {"architecture": SMALL, **about})
        return save_encoder(folder / "encoder", encoder, config)


def _architecture(foreign: ForeignFile) -> dict[str, Any]:
    """Return the architecture that hilum wrote beside the file."""
    if (own := own_config(foreign)) is not None:
        return own.architecture
    raise SettingsError(
        "plain needs the architecture of the encoder",
        remedy="give its name and parameters after the file, as in name=resenc size=base",
    )


def _by_rules(
    foreign: ForeignFile, rules: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    try:
        return renamed(foreign.tensors, list(rules.items()))
    except (re.error, IndexError) as error:
        raise CheckpointError(
            "rename must be regular expressions and replacements",
            found=error,
            remedy=r"as in --rename 'model\.(.*)=\1': a pattern is of the whole name",
        ) from None


def _by_prefix(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Swap one prefix for another: the pair that fits most tensors in name and sides."""
    ours_by_end: dict[str, list[str]] = {}
    for name in own:
        parts = name.split(".")
        for cut in range(len(parts)):
            ours_by_end.setdefault(".".join(parts[cut:]), []).append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for name, tensor in tensors.items():
        parts = name.split(".")
        for cut in range(len(parts)):
            end = ".".join(parts[cut:])
            for ours in ours_by_end.get(end, ()):
                if own[ours].shape == tensor.shape:
                    votes[name.removesuffix(end), ours.removesuffix(end)] += 1
    # Of equal votes the longest prefix is the one that leaves the names unlike at their end.
    theirs, ours = max(votes, key=lambda pair: (votes[pair], -len(pair[0])), default=("", ""))
    found = {
        ours + name.removeprefix(theirs): tensor
        for name, tensor in tensors.items()
        if name.startswith(theirs)
    }
    kept = {name: tensor for name, tensor in found.items() if name in own}
    back = {ours + name.removeprefix(theirs): name for name in tensors if name.startswith(theirs)}
    used = {back[name] for name in kept}
    return kept, [name for name in tensors if name not in used]
