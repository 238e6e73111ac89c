"""Network folders: an encoder and its decoder with its heads, and what each output means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hilum.core.checkpoints import EncoderConfig, load_weights, save_folder
from hilum.core.errors import CheckpointError, UserError
from hilum.core.files import read_json
from hilum.core.registry import build
from hilum.core.settings import Settings, validate
from hilum.core.weights import read_weights

from . import ENCODERS
from .base import Encoder
from .decoders import DECODERS
from .decoders.base import Decoder

FORMAT = 1
Kind = Literal["class", "region", "synthetic", "organ", "reconstruction", "level", "unknown"]


class Output(Settings):
    """What one output channel means. Channels of other meanings are never taken for each other."""

    kind: Kind = Field(
        description="class (labelled), region (labelled, may overlap others), synthetic (a class "
        "that was pasted in), organ, reconstruction (of a modality), level (of a pretext task), "
        "unknown"
    )
    name: str = Field("", description="which: a class, an organ, a modality")

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.kind} {self.name}".strip()


class NetworkConfig(Settings):
    """What one must know to use a whole network; the content of its `config.json`."""

    format: int = Field(FORMAT, description="version of this schema")
    kind: Literal["network"] = Field("network", description="tells it from an encoder folder")
    encoder: EncoderConfig = Field(description="encoder, and what the network saw in training")
    decoder: dict[str, Any] = Field(description="name and parameters of the decoder")
    outputs: tuple[Output, ...] = Field(min_length=1, description="what each output channel means")
    operating_point: dict[str, Any] = Field(
        default_factory=dict,
        description="how probabilities become a mask, of a network that segments; empty: the most "
        "probable class, or 0.5 for each region",
    )
    checksums: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each weights file; filled in on saving"
    )


@dataclass
class Network:
    """A whole network. Final.

    Attributes:
        config: What it was built from.
        encoder: From an image, one channel per modality.
        decoder: To one channel per entry of `config.outputs`.
    """

    config: NetworkConfig
    encoder: Encoder
    decoder: Decoder

    def __call__(self, image: Tensor) -> Tensor:
        """Return the outputs at full resolution, `[B, outputs, D, H, W]`."""
        return self.decoder(self.encoder(image))[0]


def regions_of(*names: str) -> tuple[Output, ...]:
    """Return the outputs of a segmenter of regions: what they are compared with, then these."""
    return tuple(Output(kind="region", name=name) for name in ("background", *names))


def classes_of(*names: str) -> tuple[Output, ...]:
    """Return the outputs of a segmenter: background, then the named classes."""
    return tuple(Output(kind="class", name=name) for name in ("background", *names))


def reconstructions_of(modalities: Sequence[str]) -> tuple[Output, ...]:
    """Return the outputs of a network that reconstructs each modality."""
    return tuple(Output(kind="reconstruction", name=name) for name in modalities)


def build_network(config: NetworkConfig) -> Network:
    """Build a network with new weights.

    Raises:
        SettingsError: If encoder and decoder do not fit together.
    """
    about = config.encoder
    encoder = build(ENCODERS, about.architecture, in_channels=len(about.modalities))
    decoder = make_decoder(config.decoder, encoder, len(config.outputs))
    return Network(config, encoder, decoder)


def make_decoder(
    spec: dict[str, Any], encoder: Encoder, outputs: int, prior: float | None = None
) -> Decoder:
    """Build the decoder that `spec` names for the pyramid of an encoder."""
    context = {
        "channels": encoder.channels,
        "strides": encoder.strides,
        "classes": outputs,
        "prior": prior,
    }
    return build(DECODERS, spec, **context)


def save_network(
    folder: str | Path,
    encoder: nn.Module,
    decoder: nn.Module,
    config: NetworkConfig,
    beside: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network folder (weights, `config.json`, model card), whole or not at all."""
    both = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    return save_folder(folder, both, config, _card(config), beside)


def is_network(folder: str | Path) -> bool:
    """Return whether a folder says that it is a network folder."""
    path = Path(folder) / "config.json"
    return path.is_file() and read_json(path).get("kind") == "network"


def read_network_config(folder: str | Path) -> NetworkConfig:
    """Read `config.json` of a network folder.

    Raises:
        CheckpointError: If the folder holds something else.
    """
    path = Path(folder) / "config.json"
    if not is_network(folder):
        raise CheckpointError(
            "a network folder must hold config.json, of kind network, and model.safetensors",
            file=folder,
            remedy="give the folder `network` that `hilum pretrain` wrote",
        )
    config = validate(NetworkConfig, read_json(path))
    if config.format != FORMAT:
        raise CheckpointError(
            f"config.json must have format {FORMAT}",
            file=path,
            found=config.format,
            remedy="read it with the hilum version that wrote it",
        )
    return config


def read_network(folder: str | Path) -> Network:
    """Read a network folder.

    Raises:
        CheckpointError: If the folder holds something else, half of a network, or weights of
            another one.
    """
    config = read_network_config(folder)
    weights = read_weights(folder, config.checksums)
    with torch.random.fork_rng(devices=[]):
        network = build_network(config)
    for part, module in (("encoder", network.encoder), ("decoder", network.decoder)):
        start = f"{part}."
        own = {n.removeprefix(start): v for n, v in weights.items() if n.startswith(start)}
        if not own:
            raise CheckpointError(
                "a network folder must hold an encoder and a decoder",
                file=folder,
                found=f"no weights of the {part}",
                remedy="copy the whole folder again, or give an encoder folder",
            )
        try:
            load_weights(module, own, threshold=1.0)
        except CheckpointError as error:
            raise CheckpointError(
                "weights and config.json of a network must belong together",
                file=folder,
                found=f"{part}: {error.found}",
                remedy="copy the whole folder again from where it was trained",
            ) from None
    return network


def kind_of(folder: str | Path) -> Literal["encoder", "network", "segmenter"]:
    """Return what a folder of ours holds.

    Raises:
        CheckpointError: If it holds none of them.
    """
    path = Path(folder) / "config.json"
    try:
        values = read_json(path)
    except UserError:
        values = None
    if isinstance(values, dict):
        if values.get("kind") == "network":
            return "network"
        if "fusion" in values and "modalities" in values:
            return "segmenter"
        if isinstance(values.get("architecture"), dict):
            return "encoder"
    raise CheckpointError(
        "the folder must be an encoder, network or segmenter folder",
        file=folder,
        found="another config.json" if values is not None else "no config.json",
        remedy="give a folder that `hilum pretrain`, `finetune` or `import-weights` named",
    )


def _card(config: NetworkConfig) -> str:
    about = config.encoder
    rows = {
        "Encoder": about.architecture.get("name"),
        "Decoder": config.decoder.get("name"),
        "Modalities, in channel order": ", ".join(about.modalities),
        "Outputs, in channel order": ", ".join(map(str, config.outputs)),
        "Spacing (mm, depth height width)": " x ".join(f"{s:g}" for s in about.spacing),
        "Orientation": about.orientation,
        "Patch (voxels)": " x ".join(map(str, about.patch)),
        "Pretext task": about.pretext.get("name", "none"),
        "Data": about.data_hash or "unknown",
        "Licence": about.licence or "not stated",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# Whole {about.architecture.get("name")} network for {" + ".join(about.modalities)}

| | |
| --- | --- |
{table}

Load it with `hilum finetune init_from=FOLDER`, or in Python:
`hilum.encoders.networks.read_network(folder)`.

For research only; not a medical device.
"""
