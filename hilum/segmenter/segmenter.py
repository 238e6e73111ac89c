"""The segmenter: encoders, fusion strategy and decoder in one network that a folder can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from hilum.core.checkpoints import load_weights, read_weights, save_folder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.files import read_json
from hilum.core.geometry import IntTriple, Triple
from hilum.core.modality import modality
from hilum.core.registry import build, look_up
from hilum.core.settings import Settings, validate
from hilum.core.types import Available, Volume
from hilum.datasets.io.nifti import Volume as Scan
from hilum.datasets.prepare.case import PrepareSettings
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoder import PyramidDecoder
from hilum.finetune.settings import InferenceSettings
from hilum.fusion import STRATEGIES

from .adapters import has_adapters, merged
from .linear_decoder import LinearDecoder
from .organ_head import folded

FORMAT = 1


class SegmenterConfig(Settings):
    """What one must know to build and to use a segmenter; the content of its `config.json`."""

    format: int = Field(FORMAT, description="version of this schema")
    modalities: tuple[str, ...] = Field(min_length=1, description="modality of each channel")
    classes: int = Field(2, ge=2, description="classes, background included")
    organs: int = Field(0, ge=0, description="organs that the heads learn beside the classes")
    encoder: dict[str, Any] = Field(description="name and parameters of every encoder")
    fusion: dict[str, Any] = Field(description="name and parameters of the fusion strategy")
    decoder: Literal["pyramid", "linear"] = Field(
        "pyramid", description="linear is that of a linear probe"
    )
    deep_supervision: bool = Field(True, description="whether coarse maps predict, too")
    prior: float = Field(0.01, gt=0, lt=0.5, description="expected share of each class at start")
    patch: IntTriple = Field(description="sides of a training patch in voxels")
    spacing: Triple = Field(description="mm along depth, height, width")
    orientation: str = Field("SAR", description="direction of depth, height, width")
    intensity: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="window and scale of each modality; filled in on saving"
    )
    preparation: PrepareSettings = Field(
        default_factory=lambda: validate(PrepareSettings, {}),
        description="how training cases were prepared; prediction does the same",
    )
    inference: InferenceSettings = Field(
        default_factory=lambda: validate(InferenceSettings, {}), description="sliding window"
    )
    data_hash: str = Field("", description="fingerprint of the case store")
    licence: str = Field("", description="licence of the weights")
    extra: dict[str, Any] = Field(default_factory=dict, description="anything else worth keeping")


STRATEGY_GETS = {"modalities": None, "encoders": None, "make_decoder": None}
"""What a fusion strategy is handed, beside its own parameters."""


class Segmenter(nn.Module):
    """Paired volumes in, logits out. Final.

    The fusion strategy says which encoders it wants and what each of them sees; all of them are
    built alike but for their input channels, and every decoder is the same, so that a comparison
    of strategies compares nothing else.

    Attributes:
        config: What it was built from.
        modalities: Name of each channel of the input.
        classes: Channels of the output.
        inputs: Modalities that each encoder sees, by the encoder's name.
        strategy: The fusion strategy, which holds encoders and decoders.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        for name in config.modalities:
            modality(name)
        self.config = config
        self.modalities, self.classes = config.modalities, config.classes
        self.inputs = encoder_inputs(config.fusion, config.modalities)
        encoders = {
            name: build(ENCODERS, config.encoder, in_channels=len(seen))
            for name, seen in self.inputs.items()
        }
        for encoder in encoders.values():
            encoder.check_sides(config.patch)
        try:
            self.strategy = build(
                STRATEGIES,
                config.fusion,
                modalities=config.modalities,
                encoders=encoders,
                make_decoder=self._decoder,
            )
        except UserError:
            raise
        except (ValueError, TypeError) as error:
            raise SettingsError(
                "the fusion strategy must fit the encoder", found=f"{config.fusion}: {error}"
            ) from None

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by name, as the strategy holds them."""
        return dict(self.strategy.encoders.items())  # pyright: ignore[reportReturnType]

    @property
    def decoders(self) -> dict[str, nn.Module]:
        """Every decoder, by its address in the strategy."""
        return {
            name: part
            for name, part in self.strategy.named_modules()
            if isinstance(part, PyramidDecoder | LinearDecoder)
        }

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Return logits of tensors as `forward` does, or segment the scans of a patient.

        `segmenter("ct.nii.gz", "pet.nii.gz")`, in the order of `modalities`, or by name as in
        `segmenter(pet=file)`, gives a `prediction.Prediction`: mask, grid, node table. A scan is a
        file or a `datasets.io.nifti.Volume` (array in HU or SUV, with its grid).
        """
        if not any(isinstance(one, str | Path | Scan) for one in (*inputs, *named.values())):
            return super().__call__(*inputs, **named)
        from .prediction.patient import named_scans, segment

        return segment(self, named_scans(self.modalities, inputs, named))

    def forward(self, image: Volume, available: Available, organs: bool = False) -> list[Tensor]:
        """Predict logits, finest (full resolution) first.

        Args:
            image: One channel per modality on the scale of `core.modality`; what an absent
                modality holds does not matter.
            available: Which modalities each case has; at least one.
            organs: Whether to give organs behind the classes; else they are background.
        """
        volumes = {name: image[:, i : i + 1] for i, name in enumerate(self.modalities)}
        levels = self.strategy(volumes, available)
        return levels if organs else [folded(level, self.classes) for level in levels]

    def save(self, folder: str | Path, card: str = "") -> Path:
        """Write a segmenter folder (weights, `config.json`, model card), whole or not at all.

        Low-rank adapters are merged into the weights, so that no other library need be there to
        read the folder.
        """
        encoder = {key: value for key, value in self.config.encoder.items() if key != "weights"}
        intensity = {name: scale_of(name) for name in self.modalities}
        config = self.config.model_copy(update={"encoder": encoder, "intensity": intensity})
        plain = merged(self) if has_adapters(self) else self
        return save_folder(folder, plain, config, card or _card(config))

    def use_linear_decoder(self) -> None:
        """Replace every decoder by a new linear one; all else keeps its weights."""
        if self.config.decoder == "linear":
            return
        decoders = tuple(f"{name}." for name in self.decoders)
        weights = self.strategy.state_dict()
        fresh = Segmenter(self.config.model_copy(update={"decoder": "linear"}))
        kept = {name: value for name, value in weights.items() if not name.startswith(decoders)}
        fresh.strategy.load_state_dict(kept, strict=False)
        fresh.to(next(self.parameters()).device)
        self.config, self.strategy = fresh.config, fresh.strategy

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Segmenter:
        """Read a segmenter folder, ready to predict.

        Raises:
            CheckpointError: If the folder holds something else, or weights of another network.
        """
        config = read_segmenter_config(folder)
        segmenter = cls(config)
        try:
            load_weights(segmenter, read_weights(folder), threshold=1.0)
        except CheckpointError as error:
            raise CheckpointError(
                "weights and config.json of a segmenter must belong together",
                file=folder,
                found=error.found if error.found is not None else error,
                remedy="copy the whole folder again from where it was trained",
            ) from None
        return segmenter.eval()

    def _decoder(self, channels: Sequence[int], strides: Sequence[IntTriple]) -> nn.Module:
        config = self.config
        outputs = config.classes + config.organs
        if config.decoder == "linear":
            return LinearDecoder(channels, strides, outputs, config.prior)
        return PyramidDecoder(channels, strides, outputs, config.deep_supervision, config.prior)


def encoder_inputs(
    fusion: Mapping[str, Any], modalities: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the modalities that each encoder of a fusion strategy sees, by encoder."""
    strategy, parameters = look_up(STRATEGIES, fusion, STRATEGY_GETS)
    try:
        return strategy.inputs(tuple(modalities), **parameters)
    except ValueError as error:
        raise SettingsError(f"fusion {fusion['name']}: {error}") from None


def modalities_seen(fusion: Mapping[str, Any], modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities that a fusion strategy predicts from, in their order."""
    strategy, parameters = look_up(STRATEGIES, fusion, STRATEGY_GETS)
    try:
        return strategy.sees(tuple(modalities), **parameters)
    except ValueError as error:
        raise SettingsError(f"fusion {fusion['name']}: {error}") from None


def read_segmenter_config(folder: str | Path) -> SegmenterConfig:
    """Read `config.json` of a segmenter folder and check that today's scales are its scales."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise CheckpointError(
            "a segmenter folder must hold config.json and model.safetensors",
            file=folder,
            remedy="give the folder that `hilum finetune` named at its end",
        )
    values = read_json(path)
    if not isinstance(values, dict) or "fusion" not in values:
        is_encoder = isinstance(values, dict) and "architecture" in values
        raise CheckpointError(
            "the folder must hold a segmenter",
            file=folder,
            found="an encoder" if is_encoder else "something else",
            remedy=f"fine-tune it first: hilum finetune init_from={folder}" if is_encoder else None,
        )
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"config.json must have format {FORMAT}", file=path, found=values.get("format")
        )
    config = validate(SegmenterConfig, values)
    for name, scale in config.intensity.items():
        if scale != scale_of(name):
            raise CheckpointError(
                f"{name} must be scaled as in training",
                file=path,
                found=f"{scale_of(name)} here, {scale} there",
                remedy="use the version of hilum that trained it",
            )
    return config


def scale_of(name: str) -> dict[str, Any]:
    """Return how a modality's values become the input of a network."""
    rule = modality(name)
    return {"unit": rule.unit, "low": rule.low, "high": rule.high, "scale": rule.scale}


def _card(config: SegmenterConfig) -> str:
    rows = {
        "Modalities (any subset works)": ", ".join(config.modalities),
        "Classes, background included": config.classes,
        "Encoder": config.encoder.get("name"),
        "Fusion": config.fusion.get("name"),
        "Spacing (mm, depth height width)": " x ".join(f"{s:g}" for s in config.spacing),
        "Patch (voxels)": " x ".join(map(str, config.patch)),
        "Pretrained": config.extra.get("pretrained", "unknown"),
        "Labelled training patients": config.extra.get("labelled_patients", "unknown"),
        "Validation Dice": config.extra.get("validation_dice", "not validated"),
        "Data": config.data_hash or "unknown",
        "Licence": config.licence or "not stated",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# Lymph-node segmenter for {" + ".join(config.modalities)}

| | |
| --- | --- |
{table}

Use it with `hilum predict FOLDER --out DIR --ct CT --pet PET`, or in Python:
`hilum.segmenter.segmenter.Segmenter.from_pretrained(folder)(ct, pet)`, the scans by file.

For research only; not a medical device.
"""
