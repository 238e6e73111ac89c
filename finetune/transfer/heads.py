"""Carry heads over where outputs mean the same: shapes alone say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from hilum.core.checkpoints import LoadReport
from hilum.encoders.decoders.base import Decoder, prior_odds
from hilum.encoders.networks import Output

ALIKE = {"synthetic": "class"}
"""Kinds that continue another: a pasted node is a node."""


def matches(
    theirs: Sequence[Output], ours: Sequence[Output], renamed: Mapping[str, str]
) -> dict[int, int]:
    """Return their channel for each of our channels that means the same.

    The background alone is no match: without a class that both know, heads have nothing in common.

    Args:
        theirs: Outputs of the pretrained network.
        ours: Outputs of the segmenter.
        renamed: Their name of a class, by our name.
    """
    have = {_meaning(output): channel for channel, output in reversed(list(enumerate(theirs)))}
    names = {ours.casefold(): theirs for ours, theirs in renamed.items()}
    found = {}
    for channel, output in enumerate(ours):
        own = output
        if output.kind in ("class", "region"):
            own = Output(kind=output.kind, name=names.get(output.name.casefold(), output.name))
        if _meaning(own) in have and output.kind in ("class", "region", "organ"):
            found[channel] = have[_meaning(own)]
    known = [c for c in found if ours[c].name != "background"]
    return found if known else {}


def carry(
    decoder: Decoder,
    source: Decoder,
    pairs: Mapping[int, int],
    ours: Sequence[Output],
    prior: float,
    report: LoadReport,
) -> None:
    """Fill the heads of a decoder from those of another, channel by channel, finest level first.

    A new channel starts as the background's at the log of its prior odds against it: where the
    pretrained network sees background, the new class has its prior; what it says of the classes it
    knows stays as it was.

    Args:
        decoder: To be filled.
        source: Pretrained, its outputs those that `pairs` points to.
        pairs: Their channel for each of ours, of `matches`.
        ours: Outputs of `decoder`.
        prior: Expected fraction of a new class.
        report: Gets a line for each tensor.
    """
    fresh = [channel for channel in range(len(ours)) if channel not in pairs]
    background = pairs.get(0)
    # Other tools' heads of regions know no background: there it is 0, and new ones are compared
    # with that.
    zero = ours[0].kind == "region" and background is None
    given = source.head_rows()
    with torch.no_grad():
        for level, own in enumerate(decoder.head_rows()):
            theirs = list(given[level].values()) if level < len(given) else []
            fits = [t.shape[1:] for t in theirs] == [value.shape[1:] for value in own.values()]
            for number, (name, value) in enumerate(own.items()):
                if not fits:
                    why = "shapes differ" if theirs else "the source has no head at this level"
                    report.missing[name] = why
                    continue
                for channel, channel_theirs in pairs.items():
                    value[channel] = theirs[number][channel_theirs]
                for channel in fresh if background is not None or zero else ():
                    value[channel] = 0 if background is None else theirs[number][background]
                    if channel == 0:
                        continue
                    if value.ndim == 1:
                        value[channel] += prior_odds(prior, len(ours))
                report.missing.pop(name, None)
                report.adapted[name] = _how(ours, pairs, fresh)


def _how(ours: Sequence[Output], pairs: Mapping[int, int], fresh: Sequence[int]) -> str:
    taken = ", ".join(ours[channel].name for channel in pairs)
    new = ", ".join(ours[channel].name for channel in fresh)
    return f"{taken} from the source" + (f"; new at their prior: {new}" if new else "")


def _meaning(output: Output) -> tuple[str, str]:
    return ALIKE.get(output.kind, output.kind), output.name.casefold()
