"""Turn weights of another tool into an encoder folder, with a report on every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.core.checkpoints import LoadReport, load_weights, save_encoder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.modality import modality
from hilum.core.outputs import check_output, owned_by
from hilum.core.registry import build, find
from hilum.core.seeds import derive
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder

from . import SOURCES
from .channels import Channels, adapt_stem, check_channels
from .diagnose import hint
from .folder_config import config_of
from .hub import find_weights
from .own import own_config
from .positions import fit_kernel, resize_embedding
from .reading import ForeignFile, read_foreign
from .refusals import leftovers, refuse_leftovers, whole_network
from .source import Recipe, Request
from .whole import save_whole

REPORT = "load_report.json"


@dataclass
class Imported:
    """An encoder filled from a file, not yet written.

    Attributes:
        source: Name in `SOURCES`.
        why: Why the file is taken for it.
        encoder: The encoder, filled as far as the file goes.
        recipe: What the source said.
        report: What happened to each tensor.
        channels: What was done with the input channels.
    """

    source: str
    why: str
    encoder: Encoder
    recipe: Recipe
    report: LoadReport
    channels: dict[str, str] = field(default_factory=dict)


def import_weights(
    source: str,
    file: str | Path,
    out: str | Path,
    *,
    modalities: Sequence[str],
    spacing: Sequence[float] | None = None,
    channels: Channels = "repeat",
    architecture: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    threshold: float = 0.9,
    sha256: str | None = None,
    licence: str = "",
    network: bool = False,
    whole: bool = False,
) -> tuple[Path, LoadReport]:
    """Write an encoder or network folder from weights of another tool, with `load_report.json`.

    Nothing is downloaded unless asked for, and nothing in the file is run.

    Args:
        source: Name in `SOURCES`, or `auto`.
        file: The weights file, a folder in HuggingFace's layout, or a name on the hub,
            `owner/name` or `owner/name/file`.
        out: The folder; an earlier import there is replaced.
        modalities: Modality of each input channel of the encoder, in order.
        spacing: mm along depth, height, width that the weights are good for; by default what the
            file or its home says.
        channels: How a stem of one channel meets several modalities; see `channels.RULES`.
        architecture: Name and parameters of the encoder; by default what the file says.
        rename: For `plain`: regular expressions of the file's names, and our names.
        threshold: Smallest fraction of the encoder's numbers that the file must cover.
        sha256: Expected digest of the file.
        licence: Of the weights; by default that of the published ones.
        network: Whether a name on the hub may be downloaded; without, caches alone are looked at.
        whole: Whether to write a network folder: encoder, decoder, and heads with their meaning.

    Returns:
        The folder and the report of the encoder.

    Raises:
        CheckpointError: If the file cannot be trusted, is of another source or network, or covers
            too little, with the likely remedy.
    """
    check_channels(channels)
    if not modalities or len(set(modalities)) != len(modalities):
        raise SettingsError(
            "modalities must be named, each once", found=list(modalities), remedy="as in ct,pet"
        )
    for name in modalities:
        modality(name)
    if spacing is not None and (len(spacing) != 3 or min(spacing) <= 0):
        raise SettingsError("spacing must be three numbers above 0", found=list(spacing))
    check_output(out, "import-weights", inputs=[file])
    foreign = read_foreign(find_weights(file, network=network), sha256)
    request = Request(tuple(modalities), dict(architecture or {}), dict(rename or {}))
    done = fill(foreign, request, source, channels)
    if done.report.covered < threshold:
        raise CheckpointError(
            f"the file must cover {threshold:.0%} of the encoder {done.recipe.architecture}",
            file=file,
            found=_short(done.report),
            remedy=hint(foreign, done.encoder, done.recipe, done.report),
        )
    config = config_of(foreign, request, done, spacing, licence, file)
    if whole and done.recipe.whole is not None:  # the decoder takes them
        taken = set(done.recipe.whole.names)
        done.report.unexpected = [n for n in done.report.unexpected if n not in taken]
    own = done.report.as_json()

    def beside(of_decoder: LoadReport | None = None) -> dict[str, Any]:
        both = {"encoder": own, "decoder": of_decoder.as_json()} if of_decoder else own
        return {REPORT: both, **owned_by("import-weights")}

    if whole:
        folder, _ = save_whole(out, foreign, done, config, threshold, beside)
    else:
        folder = save_encoder(out, done.encoder, config, beside=beside())
    return folder, done.report


def fill(
    foreign: ForeignFile, request: Request, source: str = "auto", channels: Channels = "repeat"
) -> Imported:
    """Build the encoder that a file is of and fill it; nothing is written, nothing is too little.

    Raises:
        CheckpointError: If the file is of no known source, or not of the one that is named, or
            its network has more than the encoder.
    """
    name, why = recognise(foreign, source)
    recipe = recipe_of(foreign, request, name)
    encoder = _build(recipe.architecture, len(request.modalities), foreign)
    done = Imported(name, why, encoder, recipe, LoadReport())
    with whole_network(foreign):
        weights = _fit(done, request.modalities, channels)
    report = done.report = load_weights(encoder, weights, fresh=recipe.fresh, threshold=0.0)
    report.unexpected = leftovers(recipe.weights, report.unexpected)
    if not SOURCES[name].renames:  # a pattern of the user may take in a decoder, too
        refuse_leftovers(foreign, "encoder", report.unexpected)
    report.adapted |= {key: how for key, how in recipe.adapted.items() if key in report.loaded}
    report.loaded = [key for key in report.loaded if key not in report.adapted]
    beside = () if recipe.whole is None else recipe.whole.names
    report.unexpected = sorted([*report.unexpected, *recipe.unused, *beside])
    return done


def recipe_of(foreign: ForeignFile, request: Request, source: str) -> Recipe:
    """Return how a file of a source becomes an encoder, with what hilum wrote if it is its own."""
    (made := SOURCES[source]()).check(request, source)
    with whole_network(foreign):
        recipe = made.recipe(foreign, request)
    # The source knows which name the encoder has for the model that was asked for.
    model = {key: value for key, value in recipe.architecture.items() if key == "model"}
    recipe.architecture |= request.architecture | model
    if (own := own_config(foreign)) is not None:
        recipe.follow(own)
    return recipe


def recognise(foreign: ForeignFile, source: str = "auto") -> tuple[str, str]:
    """Return the source of a file and why; `auto` takes the first that knows it.

    Raises:
        CheckpointError: If no source knows it, or not the one that is named.
    """
    if source != "auto" and (why := find(SOURCES, source, "source")().recognise(foreign)):
        return source, why
    for name, one in SOURCES.working():
        if name == "plain" or not (why := one().recognise(foreign)):
            continue
        if source == "auto":
            return name, why
        raise CheckpointError(
            f"the file must be of {source}",
            file=foreign.path,
            found=f"one of {name}: {why}",
            remedy=f"use {name}, or auto",
        )
    raise CheckpointError(
        "the file must be of a known source"
        if source == "auto"
        else f"the file must be {source}'s",
        file=foreign.path,
        found=f"{len(foreign.tensors)} tensors such as {', '.join(list(foreign.tensors)[:3])}",
        remedy="use plain with the architecture, and rename where names differ",
    )


def _build(spec: Mapping[str, Any], channels: int, foreign: ForeignFile) -> Encoder:
    """Build an encoder; what the file lacks starts the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "weights"))
        try:
            return build(ENCODERS, spec, in_channels=channels)
        except UserError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"the architecture {dict(spec)} must fit together", file=foreign.path, found=error
            ) from None


def _fit(done: Imported, modalities: Sequence[str], channels: Channels) -> dict[str, Tensor]:
    """Return the weights with stem, positions and kernels as the encoder has them."""
    recipe, weights = done.recipe, dict(done.recipe.weights)
    own = done.encoder.state_dict()
    for name in set(done.encoder.stem) & set(weights):
        weights[name], how = adapt_stem(
            weights[name], modalities, channels, seen=recipe.seen, colours=recipe.colours
        )
        done.channels[name] = how or "as in the file"
        _note(recipe, name, how)
    for name, value in weights.items():
        if name not in own:
            continue
        changed = None
        if name in recipe.grids:
            # Sides count, not shapes: grids of other sides may have as many tokens.
            new = _grid_of(done.encoder, own[name])
            changed = resize_embedding(value, recipe.grids[name], new) if new else None
        elif own[name].shape != value.shape:
            changed = fit_kernel(value, own[name].shape)
        if changed is not None:
            weights[name] = changed[0]
            _note(recipe, name, changed[1])
    return weights


def _short(report: LoadReport) -> str:
    """Return a report in one line, with an example of what is missing."""
    name, why = next(iter(report.missing.items()), ("", ""))
    return report.lines()[0] + (f", such as {name} ({why})" if name else "")


def _note(recipe: Recipe, name: str, how: str) -> None:
    if how:
        recipe.adapted[name] = "; ".join(filter(None, [recipe.adapted.get(name, ""), how]))


def _grid_of(encoder: Encoder, embedding: Tensor) -> tuple[int, ...] | None:
    """Return the grid that an encoder's own positions are made for."""
    grid = getattr(encoder, "trained", None)
    return tuple(grid) if grid is not None and embedding.ndim == 3 else None
