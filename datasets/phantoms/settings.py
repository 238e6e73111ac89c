"""Settings of the phantom cohort and the presets of its size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from hilum.core.geometry import IntTriple, Triple
from hilum.core.seeds import numpy_generator
from hilum.core.settings import Settings

from .anatomy import FIELD_MM, REGIONS
from .imaging import SCANNERS, Scanner

ScannerName = Literal["a", "b", "c", "d", "e"]
SECOND_ONLY = ("edition", "paired", "paired_in", "arms", "phase", "metal", "motion_mm")
"""Settings that edition 1 does not have."""
_FIRST = ("a", "b")
_LEAST_SCALE = 0.45


class _Size(NamedTuple):
    shape: IntTriple
    spacing: Triple
    region: str


SIZES: dict[str, _Size] = {
    "tiny": _Size((40, 32, 48), (5.0, 5.0, 5.0), "chest"),
    "demo": _Size((96, 64, 96), (3.0, 3.0, 3.0), "neck_to_abdomen"),
    "full": _Size((200, 88, 128), (3.0, 2.0, 2.0), "brain_to_bladder"),
}


class PhantomSettings(Settings):
    """Settings of `hilum phantom`.

    The body is scaled to fit the field of view: at the presets its lengths are 0.55 to 0.72 of
    an adult's, while nodes, resolution and shifts keep their real mm.
    """

    patients: int = Field(
        24, ge=1, le=100_000, description="number of patients; a case each, or two if paired"
    )
    seed: int = Field(0, ge=0, description="seed of everything")
    size: Literal["tiny", "demo", "full"] = Field(
        "demo", description="preset of shape, spacing and region: 0.06, 0.6 or 2.3 million voxels"
    )
    edition: Literal[1, 2] = Field(
        1,
        description="1: smooth nodes, scanners a and b; 2: shapes of real nodes, a full atlas of "
        "stations, scanners a to e, acquisitions, the same patients for every scanner",
    )
    scanner: ScannerName = Field(
        "a", description="b to e: other spacing, resolution, noise and SUV bias (external test set)"
    )
    paired: ScannerName | None = Field(
        None, description="second scanner that sees the same patients (edition 2)"
    )
    paired_in: Literal["all", "test"] = Field(
        "all", description="patients whom the paired scanner sees, too: all, or the test patients"
    )
    arms: Literal["up", "down"] | None = Field(
        None, description="position of the arms; drawn per patient if not given (edition 2)"
    )
    phase: Literal["plain", "arterial", "portal"] | None = Field(
        None, description="contrast phase; drawn per patient if not given (edition 2)"
    )
    metal: float = Field(
        0.15,
        ge=0,
        le=1,
        description="probability of metal in the body, where the field of view can show some "
        "(edition 2)",
    )
    motion_mm: float = Field(
        4,
        ge=0,
        le=20,
        description="mean amplitude of the breathing during the PET at the diaphragm, mm; one "
        "patient in five also jumps, standard deviation half of it per axis (edition 2)",
    )
    region: Literal["chest", "neck_to_abdomen", "brain_to_bladder"] | None = Field(
        None, description="part of the body that fills the field of view, instead of the preset's"
    )
    shape: IntTriple | None = Field(
        None,
        description="CT voxels along depth, height, width, instead of the preset's; for a scanner "
        "of other spacing as many as fill the same lengths",
    )
    ct_spacing: Triple | None = Field(
        None, description="mm along depth, height, width, instead of preset and scanner"
    )
    pet_spacing: Triple | None = Field(
        None, description="mm along depth, height, width, instead of the scanner's"
    )
    fwhm_mm: float | None = Field(
        None, ge=4, le=15, description="resolution (FWHM) of the PET, mm, instead of the scanner's"
    )
    nodes: float = Field(
        12, ge=3, le=80, description="mean number of nodes drawn per patient (Poisson, 3 or more)"
    )
    distractors: float = Field(
        10,
        ge=0,
        le=80,
        description="mean number of foci of uptake, no nodes, drawn per patient (Poisson); those "
        "without room are left out",
    )
    negative_share: float = Field(
        0.1, ge=0, le=1, description="fraction of patients without malignant nodes"
    )
    misregistration_mm: float = Field(
        4,
        ge=0,
        le=20,
        description="mean displacement of the PET by breathing at the diaphragm, up or down, mm; "
        "the rigid shift is half as long on average",
    )
    test_fraction: float = Field(
        0.25, ge=0, le=1, description="fraction of patients whose split is test"
    )

    @field_validator("shape")
    @classmethod
    def _has_sides(cls, shape: IntTriple | None) -> IntTriple | None:
        if shape and not 16 <= min(shape) <= max(shape) <= 1024:
            raise ValueError("must be between 16 and 1024 voxels a side")
        return shape

    @field_validator("ct_spacing", "pet_spacing")
    @classmethod
    def _has_spacing(cls, spacing: Triple | None) -> Triple | None:
        if spacing and not 0.5 <= min(spacing) <= max(spacing) <= 10:
            raise ValueError("must be between 0.5 and 10 mm")
        return spacing

    @model_validator(mode="after")
    def _has_edition(self) -> PhantomSettings:
        fields = type(self).model_fields
        later = [name for name in SECOND_ONLY[1:] if getattr(self, name) != fields[name].default]
        later += ["scanner"] if self.scanner not in _FIRST else []
        if self.edition == 1 and later:
            raise ValueError(f"{' and '.join(later)} must go with edition=2; add it")
        if self.paired_in == "test" and self.paired is None:
            raise ValueError("paired_in needs a paired scanner, as in paired=c")
        if self.paired == self.scanner:
            raise ValueError("paired must be another scanner than scanner")
        return self

    @model_validator(mode="after")
    def _fits(self) -> PhantomSettings:
        if self.fit() < _LEAST_SCALE:
            raise ValueError(
                f"shape and CT spacing must hold the region at {_LEAST_SCALE:g} of an adult's size "
                f"or more, not {self.fit():.2f}; take more or larger voxels, or a shorter region"
            )
        return self

    def ct_box(self) -> tuple[IntTriple, Triple]:
        """Return shape and spacing of the CT."""
        size = SIZES[self.size]
        shape = self.shape or size.shape
        if self.ct_spacing:
            return shape, self.ct_spacing
        factor = SCANNERS[self.scanner].ct_spacing_factor
        d, h, w = (round(n / f) for n, f in zip(shape, factor, strict=True))
        a, b, c = (s * f for s, f in zip(size.spacing, factor, strict=True))
        return (d, h, w), (a, b, c)

    def anatomy_box(self) -> tuple[IntTriple, Triple]:
        """Return shape and spacing of what the body is drawn on: for every scanner in edition 2."""
        if self.edition == 1:
            return self.ct_box()
        size = SIZES[self.size]
        return self.shape or size.shape, self.ct_spacing or size.spacing

    def ct_spacing_of(self, scanner: str) -> Triple:
        """Return the mm of a scanner's CT along depth, height, width."""
        size, factor = SIZES[self.size].spacing, SCANNERS[scanner].ct_spacing_factor
        a, b, c = (s * f for s, f in zip(size, factor, strict=True))
        return self.ct_spacing or (a, b, c)

    def machine(self, scanner: str) -> Scanner:
        """Return a scanner with what the settings change of it."""
        found = SCANNERS[scanner]
        return replace(
            found,
            pet_spacing=self.pet_spacing or found.pet_spacing,
            fwhm_mm=self.fwhm_mm or found.fwhm_mm,
        )

    def scanners_of(self, index: int) -> tuple[ScannerName, ...]:
        """Return the scanners that see a patient."""
        if self.paired is None or (self.paired_in == "test" and index not in self.tests()):
            return (self.scanner,)
        return (self.scanner, self.paired)

    def tests(self) -> frozenset[int]:
        """Return the numbers of the test patients."""
        order = numpy_generator(self.seed, "phantom", "split").permutation(self.patients)
        return frozenset(order[: round(self.test_fraction * self.patients)].tolist())

    def name(self, index: int, scanner: str | None = None) -> str:
        """Return the name of a case."""
        return f"phantom_{scanner or self.scanner}_{index:04d}"

    def patient_name(self, index: int) -> str:
        """Return the name of a patient: in edition 2 the same for every scanner."""
        return self.name(index) if self.edition == 1 else f"phantom_s{self.seed}_{index:04d}"

    def is_negative(self, index: int) -> bool:
        """Say whether a patient has no malignant node: evenly spread over the indices."""
        who = (self.scanner,) if self.edition == 1 else ("second",)
        phase = numpy_generator(self.seed, "phantom", *who, "negative").random()
        share = self.negative_share
        return math.floor((index + 1) * share + phase) > math.floor(index * share + phase)

    def heights(self) -> tuple[float, float]:
        """Return the atlas heights between which the region lies."""
        return REGIONS[self.region or SIZES[self.size].region]

    def fit(self) -> float:
        """Return the largest scale of the body at which the region fits into the CT."""
        low, high = self.heights()
        sides = [n * s for n, s in zip(*self.anatomy_box(), strict=True)]
        return min(side / need for side, need in zip(sides, (high - low, *FIELD_MM), strict=True))
