"""What may happen to a patch, how often and how strongly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from hilum.core.geometry import Triple
from hilum.core.modality import modality
from hilum.core.settings import Settings


class Drawn(Settings):
    """One operation: how often it happens, and the range that its strength is drawn from."""

    p: float = Field(
        ge=0, le=1, description="probability per patch; of changed intensities, per modality"
    )
    low: float = Field(description="lower bound of the {group}")
    high: float = Field(description="upper bound of the {group}")

    @model_validator(mode="after")
    def _ordered(self) -> Drawn:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got {self.low} and {self.high}")
        return self


class AugmentationSettings(Settings):
    """What may happen to a patch. Give a part of an operation to keep the rest of its default.

    Strengths are uniform between their bounds; the factors of lengths and of SUV are log-uniform.

    Source:
        Probabilities and ranges follow nnU-Net (Isensee et al., Nature Methods 2021, supplementary
        note 4) and misalignment follows LesionTracer (autoPET III; shifts of CT against PET and
        label with p = 0.1). Ours: a narrower scale (0.8 to 1.25 for 0.7 to 1.4) drawn on a log
        scale, lengths in mm, brightness as a shift, and PET in SUV: its scale changes only by what
        dose and timing errors do, since a free contrast would take the meaning from SUV.
    """

    rotation: Drawn = Field(
        Drawn(p=0.2, low=-30, high=30), description="rotation about each axis, degrees"
    )
    scale: Drawn = Field(
        Drawn(p=0.2, low=0.8, high=1.25), description="log-uniform scaling factor of lengths, ratio"
    )
    mirror: Triple = Field((0.5, 0.5, 0.5), description="probability of mirroring, per axis")
    reach: float = Field(
        1.35,
        ge=1,
        description="upper bound of the ratio of read to patch side lengths, up to whole voxels on "
        "each side, where patches change after they are read (on a GPU, or several views of each); "
        "else as much is read as needed",
    )
    misalign: dict[str, float] = Field(
        {"pet": 10.0},
        description="maximum length of the shift of a modality relative to the label and the other "
        "modalities, mm",
    )
    misalign_turn: float = Field(
        0.0,
        ge=0,
        le=45,
        description="maximum rotation of a shifted modality about each axis, degrees",
    )
    misalign_p: float = Field(
        0.2,
        ge=0,
        le=1,
        description="probability of a shift per named modality; none of a case with one modality",
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="probability of dropping each modality; never all of a case"
    )
    suv_scale: Drawn = Field(
        Drawn(p=0.5, low=0.8, high=1.25), description="log-uniform factor on SUV, ratio"
    )
    resolution: Drawn = Field(
        Drawn(p=0.15, low=2, high=6), description="FWHM of added blur (SUV only), mm"
    )
    count_noise: Drawn = Field(
        Drawn(p=0.15, low=0.02, high=0.2),
        description="standard deviation of count noise at SUV 1 (SUV only), SUV",
    )
    grain_mm: float = Field(5.0, ge=0, description="FWHM of the noise texture (SUV only), mm")
    blur: Drawn = Field(Drawn(p=0.1, low=1, high=2.5), description="FWHM of blur (not SUV), mm")
    noise: Drawn = Field(
        Drawn(p=0.1, low=0, high=0.08),
        description="standard deviation of noise (not SUV), fraction of the window",
    )
    brightness: Drawn = Field(
        Drawn(p=0.15, low=-0.1, high=0.1),
        description="brightness shift (not SUV), fraction of the window; of the standard deviation "
        "where the input is a z-score",
    )
    contrast: Drawn = Field(
        Drawn(p=0.15, low=0.75, high=1.25), description="contrast factor (not SUV), ratio"
    )
    gamma: Drawn = Field(
        Drawn(p=0.3, low=0.7, high=1.5),
        description="gamma exponent (not SUV, not z-scores), no unit",
    )
    inverted: float = Field(
        0.25, ge=0, le=1, description="fraction of gamma transforms applied to the inverted image"
    )
    low_resolution: Drawn = Field(
        Drawn(p=0.125, low=0.5, high=1),
        description="remaining resolution along every axis, fraction of the voxels",
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Fill the parts of an operation that are not given from its default."""
        if not isinstance(values, Mapping):
            return values
        full = dict(values)
        for name, value in values.items():
            known = cls.model_fields.get(name)
            if known and isinstance(known.default, Drawn) and isinstance(value, Mapping):
                full[name] = {**known.default.model_dump(), **value}
        return full

    @model_validator(mode="after")
    def _sensible(self) -> AugmentationSettings:
        for name in ("scale", "suv_scale", "gamma", "contrast", "low_resolution"):
            if getattr(self, name).low <= 0:
                raise ValueError(f"{name}.low must be above 0")
        for name in ("resolution", "count_noise", "blur", "noise"):
            if getattr(self, name).low < 0:
                raise ValueError(f"{name}.low must not be negative")
        if self.low_resolution.high > 1:
            raise ValueError("low_resolution.high must be at most 1")
        if not all(0 <= p <= 1 for p in self.mirror):
            raise ValueError("mirror must hold probabilities between 0 and 1")
        for name, length in self.misalign.items():
            modality(name)
            if length < 0:
                raise ValueError(f"misalign.{name} must not be negative")
        return self

    @classmethod
    def none(cls, **changes: Any) -> AugmentationSettings:
        """Return settings that change nothing, but for `changes`."""
        off: dict[str, Any] = {
            name: {"p": 0.0} for name, f in cls.model_fields.items() if isinstance(f.default, Drawn)
        }
        off |= {"mirror": (0.0, 0.0, 0.0), "misalign_p": 0.0, "dropout": 0.0}
        return cls.model_validate(off | changes)

    @classmethod
    def spatial(cls, **changes: Any) -> AugmentationSettings:
        """Return settings that move patients and leave intensities alone."""
        moves = {name: cls.model_fields[name].default for name in ("rotation", "scale", "mirror")}
        return cls.none(**(moves | changes))
