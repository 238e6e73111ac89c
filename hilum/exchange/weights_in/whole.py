"""The decoder of a foreign file next to its encoder: a network folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hilum.core.checkpoints import EncoderConfig, LoadReport, load_weights
from hilum.core.errors import CheckpointError
from hilum.core.seeds import derive
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import NetworkConfig, make_decoder, save_network

from .positions import fit_kernel
from .reading import ForeignFile
from .refusals import leftovers, refuse_leftovers, whole_network

if TYPE_CHECKING:
    from .importing import Imported


def fill_decoder(foreign: ForeignFile, done: Imported) -> tuple[Decoder, LoadReport]:
    """Build the decoder that a file holds, and fill it.

    Raises:
        CheckpointError: If the file holds none that we have, or one with more than ours has.
    """
    whole = done.recipe.whole
    if whole is None:
        raise CheckpointError(
            "the file must hold a whole network",
            file=foreign.path,
            found=f"an encoder of {done.source}, without a decoder that hilum has",
            remedy="import the encoder alone: leave out --whole",
        )
    with whole_network(foreign), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "weights"))
        decoder = make_decoder(whole.decoder, done.encoder, len(whole.outputs))
    weights, own, adapted = dict(whole.weights), decoder.state_dict(), dict(whole.adapted)
    for name, value in whole.weights.items():
        if name in own and own[name].shape != value.shape:
            changed = fit_kernel(value, own[name].shape)
            if changed is not None:
                weights[name], how = changed
                adapted[name] = "; ".join(filter(None, [adapted.get(name, ""), how]))
    report = load_weights(decoder, weights, threshold=0.0)
    report.unexpected = leftovers(whole.weights, report.unexpected)
    refuse_leftovers(foreign, "decoder", report.unexpected)
    report.adapted |= {name: how for name, how in adapted.items() if name in report.loaded}
    report.loaded = [name for name in report.loaded if name not in report.adapted]
    return decoder, report


def save_whole(
    out: str | Path,
    foreign: ForeignFile,
    done: Imported,
    config: EncoderConfig,
    threshold: float,
    beside: Callable[[LoadReport], Mapping[str, Any]],
) -> tuple[Path, LoadReport]:
    """Write a network folder from a file; the report is that of the decoder.

    Raises:
        CheckpointError: If the decoder is missing, or covered too little.
    """
    decoder, report = fill_decoder(foreign, done)
    assert done.recipe.whole is not None
    if report.covered < threshold:
        name, why = next(iter(report.missing.items()))
        raise CheckpointError(
            f"the file must cover {threshold:.0%} of the decoder {decoder.spec}",
            file=foreign.path,
            found=f"{report.lines()[0]}, such as {name} ({why})",
            remedy="half of a network: import the encoder alone, without --whole",
        )
    network = NetworkConfig(
        format=1,
        kind="network",
        encoder=config,
        decoder=decoder.spec,
        outputs=done.recipe.whole.outputs,
    )
    return save_network(out, done.encoder, decoder, network, beside(report)), report
