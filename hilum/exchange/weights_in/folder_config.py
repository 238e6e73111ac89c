"""The `config.json` of an imported encoder: as asked, else as the file says, else as published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.core.checkpoints import FORMAT, EncoderConfig
from hilum.core.geometry import IntTriple
from hilum.core.input_scale import scale_of
from hilum.core.settings import validate
from hilum.encoders.base import Encoder

from . import SOURCES
from .reading import ForeignFile
from .source import Request

if TYPE_CHECKING:
    from .importing import Imported

ASSUMED_SPACING = (1.5, 1.5, 1.5)
ASSUMED_PATCH = 96


def config_of(
    foreign: ForeignFile,
    request: Request,
    done: Imported,
    spacing: Sequence[float] | None,
    licence: str,
    file: str | Path,
) -> EncoderConfig:
    """Return what one must know to use the encoder; what hilum wrote about it is kept."""
    recipe, about = done.recipe, SOURCES[done.source]
    if spacing is None and recipe.spacing is None:
        recipe.notes.append(
            f"the file does not say its spacing: {ASSUMED_SPACING[0]:g} mm is written, give spacing"
        )
    known = {} if recipe.own is None else recipe.own.model_dump()
    scales = {
        name: s for name, s in known.get("intensity", {}).items() if name in request.modalities
    }
    alone = recipe.scaled_alone(request.modalities)
    told = {
        "format": FORMAT,
        "architecture": recipe.architecture,
        "modalities": request.modalities,
        "spacing": spacing or recipe.spacing or ASSUMED_SPACING,
        "intensity": scales | {name: scale_of(name, "zscore") for name in alone},
        "patch": _patch(done.encoder, recipe.patch),
        "checksums": {},
    }
    origin = {
        "source": done.source,
        "home": about.home if recipe.own is None else "",
        "why": done.why,
        "file": Path(file).name if Path(file).exists() else str(file),
        "sha256": foreign.sha256,
        "container": foreign.kind,
        "group": foreign.group,
        "wrapper": foreign.prefix,
        "channels": done.channels,
        "channels_of_file": list(recipe.seen),
        "adapted": recipe.adapted,
        "notes": recipe.notes,
    }
    published = {"pretext": {"name": recipe.pretext}, "licence": about.licence}
    return validate(
        EncoderConfig,
        published
        | known
        | told
        | ({"licence": licence} if licence else {})
        | {"extra": known.get("extra", {}) | {"imported": origin}},
    )


def _patch(encoder: Encoder, wanted: IntTriple | None) -> IntTriple:
    """Return patch sides that the encoder's strides divide."""
    d, h, w = (
        -(-side // stride) * stride
        for side, stride in zip(wanted or (ASSUMED_PATCH,) * 3, encoder.strides[-1], strict=True)
    )
    return d, h, w
