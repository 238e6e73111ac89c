"""Read what fine-tuning can start from: an encoder, a network or a segmenter folder, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.core.checkpoints import EncoderConfig, read_config, state_of
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.input_scale import scale_of
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import Output, kind_of, read_network
from hilum.segmenter.segmenter import Segmenter

InitFrom = Path | dict[str, Path]
"""A folder, or a folder for each modality."""


@dataclass
class Source:
    """One encoder that can be taken over, with the decoder that reads it if it has one alone.

    Attributes:
        folder: Where it was read.
        about: Architecture, and what the encoder saw.
        encoder: Weights by name.
        decoder: With its weights; none in an encoder folder.
        outputs: What each output channel of the decoder means.
    """

    folder: Path
    about: EncoderConfig
    encoder: dict[str, Tensor]
    decoder: Decoder | None = None
    outputs: tuple[Output, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality of each input channel."""
        return self.about.modalities


@dataclass
class Start:
    """All that fine-tuning starts from.

    Attributes:
        name: The folders, for reports.
        sources: At least one.
        segmenter: The segmenter that the sources are parts of, if the folder holds one.
        decoder: Name and parameters of the decoders; none in encoder folders.
        alone: Decoders of a segmenter by address, where they read several encoders.
    """

    name: str
    sources: list[Source]
    segmenter: Segmenter | None = None
    decoder: dict[str, Any] | None = None
    alone: dict[str, Decoder] = field(default_factory=dict)

    @property
    def ruled(self) -> bool:
        """Whether heads only correct a rule."""
        return self.segmenter is not None and self.segmenter.rule is not None

    @property
    def about(self) -> EncoderConfig:
        """What the first encoder saw."""
        return self.sources[0].about

    def best(self, seen: Sequence[str], *, decoder: bool = False) -> Source | None:
        """Return the source that is closest to a network of these modalities; none if all lack one.

        The same modalities count most, then all of them among others, then as many as possible.

        Args:
            seen: Modalities of the network to be filled.
            decoder: Whether the source must have a decoder.
        """
        wanted = set(seen)

        def closeness(source: Source) -> tuple[bool, bool, int, int]:
            have = set(source.modalities)
            return have == wanted, have >= wanted, len(have & wanted), -len(have - wanted)

        able = [s for s in self.sources if s.decoder is not None or not decoder]
        return max(able, key=closeness, default=None)


def read_start(init_from: str | Path | Mapping[str, str | Path]) -> Start:
    """Read the folder, or the folder of each modality.

    Raises:
        CheckpointError: If one holds none of the three kinds, half of one, or an unfit modality.
    """
    if not isinstance(init_from, Mapping):
        return _read(Path(init_from))
    starts = {name: _read(Path(folder)) for name, folder in init_from.items()}
    sources = []
    for name, start in starts.items():
        source = start.best((name,))
        if source is None or name not in source.modalities:
            raise CheckpointError(
                f"the folder for {name} must hold an encoder that saw {name}",
                file=init_from[name],
                found=", ".join(start.about.modalities),
                remedy="give each modality a folder of its own, or one folder for all",
            )
        sources.append(source)
    decoders = [start.decoder for start in starts.values()]
    architectures = [source.about.architecture for source in sources]
    for kind, specs in (("encoders", architectures), ("decoders", decoders)):
        if any(spec != specs[0] for spec in specs):
            raise CheckpointError(
                f"the folders of all modalities must hold {kind} of one architecture",
                found="; ".join(f"{n}: {spec}" for n, spec in zip(starts, specs, strict=True)),
                remedy="every encoder of a segmenter is built alike: pretrain them alike",
            )
    name = ", ".join(f"{key}: {folder}" for key, folder in init_from.items())
    return Start(name, sources, decoder=decoders[0])


def folders_of(init_from: str | Path | Mapping[str, str | Path]) -> list[Path]:
    """Return every folder that is started from."""
    every = init_from.values() if isinstance(init_from, Mapping) else [init_from]
    return [Path(folder) for folder in every]


def check_names(init_from: InitFrom, modalities: Sequence[str]) -> None:
    """Refuse folders for modalities that are not used."""
    if isinstance(init_from, Mapping) and not set(init_from) <= set(modalities):
        raise SettingsError(
            "init_from must name modalities that are used",
            found=", ".join(sorted(set(init_from) - set(modalities))),
            remedy=f"name {', '.join(modalities)}",
        )


def _read(folder: Path) -> Start:
    kind = kind_of(folder)
    if kind == "encoder":
        return Start(str(folder), [Source(folder, read_config(folder), read_weights(folder))])
    if kind == "segmenter":
        return _of_segmenter(folder)
    network = read_network(folder)
    source = Source(
        folder,
        network.config.encoder,
        state_of(network.encoder),
        network.decoder,
        network.config.outputs,
    )
    return Start(str(folder), [source], decoder=network.config.decoder)


def _of_segmenter(folder: Path) -> Start:
    """Return the networks that a segmenter consists of."""
    with torch.random.fork_rng(devices=[]):
        segmenter = Segmenter.from_pretrained(folder)
    config, decoders = segmenter.config, dict(segmenter.decoders)
    sources = []
    for name, encoder in segmenter.encoders.items():
        own = f"decoders.{name}" if f"decoders.{name}" in decoders else ""
        if not own and len(segmenter.encoders) == 1 == len(decoders):
            own = next(iter(decoders))
        about = validate(
            EncoderConfig,
            {
                "architecture": config.encoder,
                "modalities": segmenter.inputs[name],
                "spacing": config.spacing,
                "orientation": config.orientation,
                "intensity": config.intensity or {m: scale_of(m) for m in segmenter.inputs[name]},
                "patch": config.patch,
                "pretext": {"name": "segmenter"},
                "data_hash": config.data_hash,
                "licence": config.licence,
            },
        )
        decoder = decoders.pop(own) if own else None
        outputs = segmenter.outputs if own else ()
        sources.append(Source(folder, about, state_of(encoder), decoder, outputs))
    return Start(str(folder), sources, segmenter, config.decoder, decoders)
