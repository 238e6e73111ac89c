"""Stages of a convolutional encoder: channels, depth and stride of each, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

from .base import preset
from .strides import triple

Sizes = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""Channels and depth of each stage, by the name of the size."""


def stages_of(
    sizes: Sizes,
    size: str,
    features: Sequence[int] | None,
    depths: Sequence[int] | None,
    strides: Sequence[int | Sequence[int]] | None,
    what: str,
) -> tuple[tuple[int, ...], tuple[int, ...], list[IntTriple]]:
    """Return channels, depth and stride of each stage.

    Args:
        sizes: Of the family.
        size: The size whose values count where none are given.
        features: Channels of each stage.
        depths: Blocks or convolutions of each stage.
        strides: Number or triple of each stage; 1, then 2 for every further one, if not given.
        what: Name of `depths` in the settings.

    Raises:
        SettingsError: If they do not fit together.
    """
    wide, deep = preset(size, sizes)
    channels = wide if features is None else tuple(features)
    counts = deep[: len(channels)] if depths is None else tuple(depths)
    steps = [triple(s) for s in ([1] + [2] * (len(channels) - 1) if strides is None else strides)]
    if not len(channels) == len(counts) == len(steps) > 0:
        raise SettingsError(
            f"features, {what} and strides must have one entry per stage",
            found=f"{len(channels)}, {len(counts)} and {len(steps)} entries",
            remedy="give all three",
        )
    if min(*channels, *counts, *(side for step in steps for side in step)) < 1:
        raise SettingsError(
            f"features, {what} and strides must be at least 1",
            found=f"{channels}, {counts}, {steps}",
            remedy="give numbers from 1 on, one per level",
        )
    return channels, counts, steps
