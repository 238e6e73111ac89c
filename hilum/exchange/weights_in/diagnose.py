"""Say what is likely wrong when a file covers too little of an encoder."""

from __future__ import annotations

import re
from collections import Counter

from hilum.core.checkpoints import LoadReport
from hilum.encoders.base import Encoder

from .reading import ForeignFile
from .source import Recipe


def hint(foreign: ForeignFile, encoder: Encoder, recipe: Recipe, report: LoadReport) -> str:
    """Return the remedy for the likeliest cause."""
    return (
        _flat(foreign, encoder)
        or _other_size(recipe, report)
        or _decoder_only(foreign)
        or _other_group(foreign)
        or _prefix(foreign, report)
        or "the file is of another network: give its architecture"
    )


def _flat(foreign: ForeignFile, encoder: Encoder) -> str:
    """Recognise 2D weights for a 3D network."""
    theirs = Counter(t.ndim for name, t in foreign.tensors.items() if name.endswith("weight"))
    ours = Counter(t.ndim for t in encoder.state_dict().values())
    if theirs[4] > theirs[5] and ours[5] > ours[4]:
        return (
            "the file is of a 2D network: if timm or transformers has it, use timm_hub (inflated) "
            "or transformers_hub (slice by slice), else train a 3D one"
        )
    return ""


def _other_size(recipe: Recipe, report: LoadReport) -> str:
    """Recognise a network of the same kind with other widths."""
    wrong = [(n, why) for n, why in report.missing.items() if why.startswith("shape")]
    if len(wrong) * 2 <= len(report.missing):
        return ""
    name, why = wrong[0]
    return (
        f"names fit but sizes do not ({name}: {why}): "
        f"give another size or other parameters of {recipe.architecture.get('name')}"
    )


def _decoder_only(foreign: ForeignFile) -> str:
    heads = ("decoder", "up_", "head", "fc", "classifier", "out", "conv_final")
    if all(name.startswith(heads) for name in foreign.tensors):
        return "the file holds a decoder or heads only: take the file of the whole network"
    return ""


def _other_group(foreign: ForeignFile) -> str:
    larger = [name for name, count in foreign.groups.items() if count > len(foreign.tensors)]
    if larger:
        return (
            f"the tensors of {foreign.group!r} were read, but {larger[0]!r} holds more: "
            "save that part alone"
        )
    return ""


def _prefix(foreign: ForeignFile, report: LoadReport) -> str:
    """Recognise names that differ at their beginning only."""
    swaps: Counter[tuple[str, str]] = Counter()
    by_last: dict[str, list[str]] = {}
    for name in foreign.tensors:
        by_last.setdefault(_tail(name), []).append(name)
    for ours in report.missing:
        for theirs in by_last.get(_tail(ours), []):
            end = _shared_end(theirs, ours)
            swaps[theirs.removesuffix(end), ours.removesuffix(end)] += 1
    if not swaps:
        return ""
    (theirs, ours), count = swaps.most_common(1)[0]
    if count * 2 < len(report.missing):
        return (
            f"only {count} of {len(report.missing)} names can be matched: the file was renamed in "
            "part; use plain with a rename for each kind of name"
        )
    return (
        f"{count} names begin with {theirs!r} where ours begin with {ours!r}: "
        f"use plain with rename {re.escape(theirs)}(.*)={ours}\\1"
    )


def _shared_end(one: str, other: str) -> str:
    """Return the parts between dots in which two names end alike."""
    shared: list[str] = []
    for a, b in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if a != b:
            break
        shared.insert(0, a)
    return ".".join(shared)


def _tail(name: str) -> str:
    return ".".join(name.split(".")[-3:])
