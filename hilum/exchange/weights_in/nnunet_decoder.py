"""The decoder of nnU-Net's U-Nets in a file: its convolutions, its strides, what it predicts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from hilum.encoders.networks import Output, classes_of

from .source import Whole, renamed


def strides_of(tensors: Mapping[str, Tensor], prefix: str = "decoder.") -> list[list[int]] | None:
    """Return the stride of each stage of the encoder as the decoder's transposed kernels tell it.

    Their kernel is the stride, coarsest first; `None` without a decoder.
    """
    here = re.escape(prefix)
    found = {
        int(place[1]): [int(side) for side in tensor.shape[2:]]
        for name, tensor in tensors.items()
        if (place := re.fullmatch(here + r"transpconvs\.(\d+)\.weight", name))
    }
    if not found or sorted(found) != list(range(len(found))):
        return None
    return [[1, 1, 1], *(found[place] for place in sorted(found, reverse=True))]


def whole_of(
    tensors: Mapping[str, Tensor], outputs: Sequence[Output], prefix: str = "decoder."
) -> tuple[Whole | None, list[str]]:
    """Return the decoder of a file under our names, and the names that are not part of it.

    Args:
        tensors: By the file's names.
        outputs: What each channel means; counted against the heads.
        prefix: Before the decoder's own names.
    """
    here = re.escape(prefix)
    found, rest = renamed(
        tensors, [(here + r"((?:stages|transpconvs|seg_layers)\..*)", r"inner.\1")]
    )
    counts: dict[int, int] = {}
    for name in found:
        if place := re.match(r"inner\.stages\.(\d+)\.convs\.(\d+)\.", name):
            stage, number = int(place[1]), int(place[2])
            counts[stage] = max(counts.get(stage, 0), number + 1)
    heads = [name for name in found if re.fullmatch(r"inner\.seg_layers\.\d+\.weight", name)]
    if not counts or not heads:
        return None, rest
    spec: dict[str, Any] = {
        "name": "nnunet",
        # A stage that is missing shows in the coverage.
        "convolutions": [counts.get(stage, 1) for stage in range(_levels(found))],
        "deep_supervision": len(heads) > 1 or len(counts) == 1,
    }
    channels = int(found[heads[0]].shape[0])
    own = tuple(name for name in tensors if name not in set(rest))
    return Whole(spec, found, meanings(outputs, channels), own), rest


def _levels(found: Mapping[str, Tensor]) -> int:
    """Return one more than the largest number of a stage in any name."""
    places = [re.match(r"inner\.\w+\.(\d+)\.", name) for name in found]
    return 1 + max(int(place[1]) for place in places if place)


def meanings(outputs: Sequence[Output], channels: int) -> tuple[Output, ...]:
    """Return the outputs if they are as many as the channels, else that none is known."""
    if len(outputs) == channels:
        return tuple(outputs)
    return tuple(Output(kind="unknown", name=f"channel {n}") for n in range(channels))


def classes_in(labels: Mapping[str, Any]) -> tuple[Output, ...]:
    """Return the classes of nnU-Net's `dataset.json`, or its regions, which have no background."""
    numbers = {name: value for name, value in labels.items() if str(name).lower() != "ignore"}
    if any(isinstance(value, list | tuple) and len(value) > 1 for value in numbers.values()):
        names = [str(name) for name in numbers if str(name).lower() != "background"]
        return tuple(Output(kind="region", name=name) for name in names)
    try:
        order = {int(value): str(name) for name, value in numbers.items()}
    except (TypeError, ValueError):
        return ()
    if sorted(order) != list(range(len(order))) or len(order) < 2:
        return ()
    return classes_of(*(order[number] for number in range(1, len(order))))
