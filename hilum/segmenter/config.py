"""What a segmenter folder says of its network: the content of `config.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from hilum.core.errors import CheckpointError
from hilum.core.files import read_json
from hilum.core.geometry import IntTriple, Triple
from hilum.core.input_scale import scale_of, zscored
from hilum.core.seen import Seen
from hilum.core.settings import Settings, validate
from hilum.datasets.prepare.case import PrepareSettings

from .inference.settings import InferenceSettings
from .operating.point import OperatingPoint
from .operating.regions import Regions
from .prior_rule import PriorRuleSettings

FORMAT = 1


class SegmenterConfig(Settings):
    """What one must know to build and to use a segmenter; the content of its `config.json`."""

    format: int = Field(FORMAT, description="version of this schema")
    modalities: tuple[str, ...] = Field(min_length=1, description="modality of each channel")
    classes: int = Field(2, ge=2, description="classes, background included")
    organs: int = Field(
        0, ge=0, description="organs that the heads learn in addition to the classes"
    )
    encoder: dict[str, Any] = Field(description="name and parameters of every encoder")
    fusion: dict[str, Any] = Field(description="name and parameters of the fusion strategy")
    names: tuple[str, ...] = Field(
        (), description="name of each class but the background; empty: node, or class 1, class 2"
    )
    regions: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="values of the label in each region, which may overlap; empty: classes",
    )
    regions_class_order: tuple[int, ...] = Field(
        (), description="value of the mask that each region writes, later ones over earlier ones"
    )
    decoder: dict[str, Any] = Field(
        {"name": "pyramid"}, description="name and parameters of every decoder"
    )
    deep_supervision: bool = Field(True, description="loss on coarse decoder outputs, too")
    prior: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="prior probability per foreground class; initialises the output bias",
    )
    prior_rule: PriorRuleSettings | None = Field(
        None, description="rule that the network's logits are added to; empty: none"
    )
    patch: IntTriple = Field(description="sides of a training patch in voxels")
    spacing: Triple = Field(description="mm along depth, height, width")
    orientation: str = Field("SAR", description="direction of depth, height, width")
    intensity: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="window and scale of each modality, or zscore; windows are filled in on saving",
    )
    preparation: PrepareSettings = Field(
        default_factory=lambda: validate(PrepareSettings, {}),
        description="how training cases were prepared; prediction does the same",
    )
    inference: InferenceSettings = Field(
        default_factory=lambda: validate(InferenceSettings, {}), description="sliding window"
    )
    operating_point: OperatingPoint = Field(
        default_factory=lambda: validate(OperatingPoint, {}),
        description="how probabilities become a mask; by default the most probable class",
    )
    data_hash: str = Field("", description="fingerprint of the case store")
    licence: str = Field("", description="licence of the weights")
    seen: Seen | None = Field(
        None, description="patients and scans that the weights learned from; empty: not known"
    )
    chose: Seen | None = Field(
        None,
        description="of those that are seen, who chose weights or operating point and trained "
        "nothing; they may choose again",
    )
    tested: Seen | None = Field(
        None, description="patients and scans that tested it, or what it went on from"
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="anything else worth keeping")
    checksums: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each weights file; filled in on saving"
    )

    @property
    def zscored(self) -> tuple[str, ...]:
        """Modalities that the network sees as the z-score of their whole volume."""
        return zscored(self.intensity)

    @property
    def overlapping(self) -> Regions | None:
        """The regions that the outputs are; nothing if they are classes."""
        return Regions.of(self.regions, self.regions_class_order) if self.regions else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class but the background."""
        many = tuple(f"class {n}" for n in range(1, self.classes))
        return self.names or (("node",) if self.classes == 2 else many)

    @field_validator("decoder", mode="before")
    @classmethod
    def _named(cls, decoder: Any) -> Any:
        """Read folders of before other decoders, which hold the name alone."""
        return {"name": decoder} if isinstance(decoder, str) else decoder

    @model_validator(mode="after")
    def _a_name_per_class(self) -> SegmenterConfig:
        if self.regions and tuple(self.regions) != self.names:
            raise ValueError(f"names must be those of the regions: {', '.join(self.regions)}")
        if self.regions:
            Regions.of(self.regions, self.regions_class_order)
        names = ["background", *self.names]
        if self.names and len(self.names) != self.classes - 1:
            raise ValueError(f"names must be those of {self.classes - 1} classes: {self.names}")
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError(f"names must differ, and none be background: {self.names}")
        thresholds = self.operating_point.thresholds
        if thresholds and len(thresholds) != self.classes - 1:
            raise ValueError(
                f"operating_point.thresholds must be those of {self.classes - 1} classes: "
                f"{thresholds}"
            )
        return self


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
            f"config.json must have format {FORMAT}",
            file=path,
            found=values.get("format"),
            remedy="read it with the hilum version that wrote it",
        )
    config = validate(SegmenterConfig, values)
    for name, scale in config.intensity.items():
        if scale not in (scale_of(name), scale_of(name, "zscore")):
            raise CheckpointError(
                f"{name} must be scaled as in training",
                file=path,
                found=f"{scale_of(name)} here, {scale} there",
                remedy="use the version of hilum that trained it",
            )
    return config
