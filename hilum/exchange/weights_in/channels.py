"""Give a stem other input channels: from one image or from colours to one channel per modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from hilum.core.errors import CheckpointError, SettingsError, did_you_mean

Channels = Literal["repeat", "first", "per_modality"]

RULES: dict[str, str] = {
    "repeat": "the stem for every modality, divided by their number (as nnU-Net does): images that "
    "are alike give the source's features",
    "first": "the stem for the first modality, zeros for the others: the network starts as the "
    "source's on the first alone",
    "per_modality": "the whole stem for every modality: with the others at zero, each alone gives "
    "the source's features",
}
"""What each strategy does with a stem of one channel, and what then equals the source."""


def check_channels(strategy: str) -> None:
    """Raise an error if there is no such strategy."""
    known = get_args(Channels)
    if strategy not in known:
        raise SettingsError(
            f"unknown channel strategy {strategy!r}{did_you_mean(strategy, known)}",
            remedy=f"choose from {', '.join(known)}",
        )


def adapt_stem(
    weight: Tensor,
    modalities: Sequence[str],
    strategy: Channels,
    *,
    seen: Sequence[str] = (),
    colours: bool = False,
) -> tuple[Tensor, str]:
    """Return a stem `[out, modalities, ...]`, and how it was made; nothing if it fits as it is.

    Channels whose modality the file names are taken by name. Three colours are summed first, which
    is what a gray image in all three would have given.

    Args:
        weight: `[out, channels, ...]`.
        modalities: Modality of each channel to make.
        strategy: What to do with one channel and several modalities; see `RULES`.
        seen: Modality of each channel of the file, where it says so.
        colours: Whether three channels are red, green and blue.

    Raises:
        CheckpointError: If the channels of the file cannot become the modalities.
    """
    check_channels(strategy)
    have, want = weight.shape[1], len(modalities)
    if colours and have == 3:
        single, how = _spread(weight.sum(1, keepdim=True), modalities, strategy)
        return single, f"3 colours summed{', then ' if how else ''}{how}"
    if len(seen) == have and set(modalities) <= set(seen):
        if tuple(seen) == tuple(modalities):
            return weight, ""
        picked = torch.stack([weight[:, seen.index(name)] for name in modalities], 1)
        return picked, f"channels {', '.join(modalities)} of {', '.join(seen)}"
    if have == 1:
        return _spread(weight, modalities, strategy)
    if have == want:
        return weight, ""
    told = f" ({', '.join(seen)})" if len(seen) == have else ""
    raise CheckpointError(
        "the input channels of the file must be one, or one per modality",
        found=f"{have} channels{told}, {want} modalities ({', '.join(modalities)})",
        remedy=f"name the modality of each of the {have} channels, in the file's order",
    )


def _spread(weight: Tensor, modalities: Sequence[str], strategy: Channels) -> tuple[Tensor, str]:
    """Return a stem of one channel for every modality."""
    count, shape = len(modalities), list(weight.shape)
    if count == 1:
        return weight, ""
    new = weight.repeat(1, count, *[1] * (weight.ndim - 2))
    what = f"{shape} to {list(new.shape)}"
    if strategy == "repeat":
        return new / count, f"{what}: repeated and divided by {count}"
    if strategy == "per_modality":
        return new, f"{what}: the whole stem for each of {', '.join(modalities)}"
    new[:, 1:] = 0
    return new, f"{what}: {modalities[0]} from the file, zeros for {', '.join(modalities[1:])}"
