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
    "first": "the stem for the first modality, or for the one that the file names, zeros for the "
    "others: the network starts as the source's on that one alone",
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


def origins(seen: Sequence[str], modalities: Sequence[str]) -> dict[str, str]:
    """Return the channel of a file, by its name, whose kernel each modality gets.

    A modality that the file names gets its own. Another one takes over the only channel that is
    left; of several, nothing tells which is meant for which.

    Raises:
        CheckpointError: If a modality has no place.

    Examples:
        >>> origins(("ct", "pet"), ("pet", "mr"))
        {'pet': 'pet', 'mr': 'ct'}
    """
    new = [name for name in modalities if name not in seen]
    left = [name for name in seen if name not in modalities]
    if new and (len(new), len(left)) != (1, 1):
        raise CheckpointError(
            "the input channels of the file must be matched by name, but for one that takes over "
            "the one that is left",
            found=f"channels {', '.join(seen)} for {', '.join(modalities)}",
            remedy=f"give --modalities {','.join(seen)}: fine-tuning gives a modality that the "
            "encoder never saw the mean of its channels",
        )
    return {name: name if name in seen else left[0] for name in modalities}


def adapt_stem(
    weight: Tensor,
    modalities: Sequence[str],
    strategy: Channels,
    *,
    seen: Sequence[str] = (),
    colours: bool = False,
) -> tuple[Tensor, str]:
    """Return a stem `[out, modalities, ...]`, and how it was made; nothing if it fits as it is.

    Channels whose modality the file names are taken as `origins` says. Three colours are summed
    first, which is what a gray image in all three would have given.

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
    if seen and len(seen) != have:
        raise CheckpointError(
            "a file that names its input channels must name each of them",
            found=f"{len(seen)} named ({', '.join(seen)}), {have} in the first layer",
            remedy="the others may hold the mask of an earlier stage: import a network that sees "
            "scans alone, such as nnU-Net's 3d_fullres",
        )
    if have == 1:
        return _spread(weight, modalities, strategy, seen)
    if seen:
        return _by_name(weight, modalities, seen)
    if have == want:
        return weight, ""
    raise CheckpointError(
        "the input channels of the file must be one, or one per modality",
        found=f"{have} channels, {want} modalities ({', '.join(modalities)})",
        remedy=f"name the modality of each of the {have} channels, in the file's order",
    )


def _by_name(weight: Tensor, modalities: Sequence[str], seen: Sequence[str]) -> tuple[Tensor, str]:
    """Return a stem whose channels are picked from named ones."""
    if tuple(seen) == tuple(modalities):
        return weight, ""
    taken = origins(seen, modalities)
    picked = torch.stack([weight[:, seen.index(taken[name])] for name in modalities], 1)
    over = "".join(f"; {name} takes over {old}" for name, old in taken.items() if name != old)
    return picked, f"channels {', '.join(taken.values())} of {', '.join(seen)}{over}"


def _spread(
    weight: Tensor, modalities: Sequence[str], strategy: Channels, seen: Sequence[str] = ()
) -> tuple[Tensor, str]:
    """Return a stem of one channel for every modality."""
    count, shape = len(modalities), list(weight.shape)
    if count == 1:
        other = bool(seen) and seen[0] != modalities[0]
        return weight, f"{modalities[0]} takes over {seen[0]}" if other else ""
    new = weight.repeat(1, count, *[1] * (weight.ndim - 2))
    what = f"{shape} to {list(new.shape)}"
    if strategy == "repeat":
        return new / count, f"{what}: repeated and divided by {count}"
    if strategy == "per_modality":
        return new, f"{what}: the whole stem for each of {', '.join(modalities)}"
    first = next((name for name in modalities if name in seen), modalities[0])
    others = [name for name in modalities if name != first]
    new[:, [modalities.index(name) for name in others]] = 0
    return new, f"{what}: {first} from the file, zeros for {', '.join(others)}"
