"""Encoder folders: weights that describe themselves, and a load that is never silently partial.

A folder holds `model.safetensors`, `config.json` and `README.md`. Nothing here unpickles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import CheckpointError
from .files import atomic_folder, hash_of_file, read_json, write_json, write_text
from .seen import Seen, seen_in_words
from .settings import Settings, validate
from .weights import WEIGHTS, check_finite

FORMAT = 1


class EncoderConfig(Settings):
    """What one must know to use an encoder; the content of `config.json`."""

    format: int = Field(FORMAT, description="version of this schema")
    architecture: dict[str, Any] = Field(description="name and parameters of the encoder")
    modalities: tuple[str, ...] = Field(description="modality of each input channel, in order")
    spacing: tuple[float, float, float] = Field(description="mm along depth, height, width")
    orientation: str = Field("SAR", description="direction of depth, height, width")
    intensity: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="window and scale of each modality"
    )
    patch: tuple[int, int, int] = Field(description="sides of a training patch in voxels")
    pretext: dict[str, Any] = Field(default_factory=dict, description="pretext task")
    data_hash: str = Field("", description="fingerprint of the case store")
    licence: str = Field("", description="licence of the weights")
    seen: Seen | None = Field(
        None, description="patients and scans that the weights learned from; empty: not known"
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="anything else worth keeping")
    checksums: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each weights file; filled in on saving"
    )


@dataclass
class LoadReport:
    """What happened to each tensor when weights met a network.

    Attributes:
        loaded: Names copied as they are.
        adapted: Name, and how it was changed.
        missing: Names of the network that stayed as they were, with the reason.
        unexpected: Names of the file that no part of the network wants.
        fresh: Names of the network that the source has no counterpart of, by its design.
        covered: Fraction of the network's numbers, those of `fresh` apart, that came from the file,
            0 to 1.
    """

    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    covered: float = 0.0

    def lines(self) -> list[str]:
        """Return the report for a terminal, long lists cut."""
        head = (
            f"{self.covered:.1%} of the parameters covered: {len(self.loaded)} tensors loaded, "
            f"{len(self.adapted)} adapted, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected"
            + (f", {len(self.fresh)} fresh" if self.fresh else "")
        )
        kinds = {
            "adapted": [f"{name}: {how}" for name, how in self.adapted.items()],
            "missing": [f"{name}: {why}" for name, why in self.missing.items()],
            "unexpected": self.unexpected,
            "fresh": self.fresh,
        }
        rows = [f"  {kind} {row}" for kind, all_ in kinds.items() for row in _cut(all_)]
        return [head, *rows]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return asdict(self)


def save_encoder(
    folder: str | Path,
    encoder: nn.Module,
    config: EncoderConfig,
    card: str = "",
    beside: Mapping[str, Any] | None = None,
) -> Path:
    """Write an encoder folder whole or not at all.

    Args:
        folder: Where; replaced if it exists.
        encoder: The encoder whose weights to keep.
        config: What `read_config` will give back.
        card: Model card in Markdown; a plain one is written if empty.
        beside: More JSON files, by name.
    """
    return save_folder(folder, encoder, config, card or _card(config), beside)


def save_folder(
    folder: str | Path,
    module: nn.Module,
    config: Settings,
    card: str,
    beside: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights, `config.json`, `README.md` and other JSON files as one atomic folder."""
    folder = Path(folder)
    with atomic_folder(folder) as part:
        state = state_of(module)
        check_finite(state, folder)
        save_file(state, part / WEIGHTS, metadata={"format": "pt"})
        checksums = {WEIGHTS: hash_of_file(part / WEIGHTS, 64)}
        write_json(part / "config.json", config.model_dump(mode="json") | {"checksums": checksums})
        write_text(part / "README.md", card)
        for name, content in (beside or {}).items():
            write_json(part / name, content)
    return folder


def read_config(folder: str | Path) -> EncoderConfig:
    """Read `config.json` of an encoder folder."""
    path = Path(folder) / "config.json"
    if not path.exists():
        raise CheckpointError(
            "an encoder folder must hold config.json and model.safetensors",
            file=folder,
            remedy="give the folder that `hilum pretrain` named at its end",
        )
    config = validate(EncoderConfig, read_json(path))
    if config.format != FORMAT:
        raise CheckpointError(
            f"config.json must have format {FORMAT}",
            file=path,
            found=config.format,
            remedy="read it with the hilum version that wrote it",
        )
    return config


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module on the CPU, each tensor once under its first name."""
    return {
        names[0]: tensor.detach().cpu().contiguous().clone()
        for names, tensor in _tensors(module).values()
    }


def load_weights(
    module: nn.Module,
    weights: dict[str, Tensor],
    *,
    source: Sequence[str] = (),
    target: Sequence[str] = (),
    stem: Sequence[str] = (),
    fresh: Sequence[str] = (),
    threshold: float = 0.9,
) -> LoadReport:
    """Copy weights into a module and report on every tensor.

    The stem is matched by modality name: an encoder that sees `("ct",)` gets the CT slice of a
    `("ct", "pet")` stem, which is exactly the pretrained network with the other channel at zero. A
    modality that the source never saw gets the mean of its slices.

    Args:
        module: The network to fill; unchanged if the load is refused.
        weights: Tensors by name, as `read_weights` gives them.
        source: Modality of each input channel of the weights.
        target: Modality of each input channel of the module.
        stem: Names of the parameters with an input-channel axis (the second).
        fresh: Beginnings of names that the source has no counterpart of: they stay as they are,
            and do not count.
        threshold: Smallest fraction of the module's parameters that must be covered.

    Raises:
        CheckpointError: If less is covered.
    """
    report, new, unused = LoadReport(), {}, dict(weights)
    report.fresh, wanted = _apart(module, weights, fresh)
    covered = total = 0
    for key, (names, tensor) in wanted.items():
        name = next((name for name in names if name in weights), None)
        total += tensor.numel()
        if name is None:
            report.missing[names[0]] = "not in the file"
            continue
        value = weights[name]
        for alias in names:
            unused.pop(alias, None)
        if set(names) & set(stem) and tuple(source) != tuple(target):
            value, how = _by_modality(value, source, target)
            report.adapted[name] = how
        if value.shape != tensor.shape:
            report.adapted.pop(name, None)
            report.missing[name] = f"shape {list(tensor.shape)}, in the file {list(value.shape)}"
            continue
        if name not in report.adapted:
            report.loaded.append(name)
        new[key] = value
        covered += tensor.numel()
    report.unexpected = sorted(unused)
    report.covered = covered / max(total, 1)
    if report.covered < threshold:
        raise CheckpointError(
            f"the weights must cover {threshold:.0%} of the network",
            found="\n".join(report.lines()),
            remedy="the architecture of the encoder differs: copy it from the folder's config.json",
        )
    with torch.no_grad():
        for key, (_, tensor) in _tensors(module).items():
            if key in new:
                tensor.copy_(new[key])
    return report


def _apart(
    module: nn.Module, weights: dict[str, Tensor], fresh: Sequence[str]
) -> tuple[list[str], dict[int, tuple[list[str], Tensor]]]:
    """Return the names that may stay fresh and are not in the file, and all other tensors."""
    wanted, names_of_new = {}, []
    for key, (names, tensor) in _tensors(module).items():
        if names[0].startswith(tuple(fresh)) and not set(names) & set(weights):
            names_of_new.append(names[0])
        else:
            wanted[key] = names, tensor
    return names_of_new, wanted


def _cut(rows: Sequence[str], most: int = 8) -> list[str]:
    left = len(rows) - most
    return [*rows[:most], *([f"... and {left} more in the JSON report"] if left > 0 else [])]


def _by_modality(value: Tensor, source: Sequence[str], target: Sequence[str]) -> tuple[Tensor, str]:
    """Return the stem for other modalities, and how it was made."""
    slices, how = [], []
    for name in target:
        if name in source:
            slices.append(value[:, source.index(name)])
            how.append(f"{name} from {name}")
        else:
            slices.append(value.mean(1))
            how.append(f"{name} from the mean of {'+'.join(source)}")
    return torch.stack(slices, 1), ", ".join(how)


def _tensors(module: nn.Module) -> dict[int, tuple[list[str], Tensor]]:
    """Return every tensor of the state once, with all names that it goes by.

    Some libraries register one convolution under two names.
    """
    found: dict[int, tuple[list[str], Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), ([], tensor))[0].append(name)
    return found


def _card(config: EncoderConfig) -> str:
    rows = {
        "Architecture": config.architecture.get("name"),
        "Modalities, in channel order": ", ".join(config.modalities),
        "Spacing (mm, depth height width)": " x ".join(f"{s:g}" for s in config.spacing),
        "Orientation": config.orientation,
        "Patch (voxels)": " x ".join(map(str, config.patch)),
        "Pretext task": config.pretext.get("name", "none"),
        "Data": config.data_hash or "unknown",
        "Patients learned from": seen_in_words(config.seen),
        "Licence": config.licence or "not stated",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {config.architecture.get("name")} encoder for {" + ".join(config.modalities)}

| | |
| --- | --- |
{table}

Load it with `hilum finetune init_from=FOLDER`, or in Python:
`hilum.core.checkpoints.read_config(folder)`, `hilum.core.weights.read_weights(folder)`.

For research only; not a medical device.
"""
