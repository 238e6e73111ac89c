"""What hilum knows of each modality: its unit, its fill value, and the scale networks see.

A store keeps physical values (HU, SUV). `encode` maps them to the scale of a network and `decode`
back, by the same rule for every case: a PET is never scaled by its own mean, so SUV keep their
meaning across patients and scanners. Modalities are names; `mr_t1`, `mr_t2` and other sequences
share the rule of `mr` unless they have their own. A unit of `a.u.` has no absolute scale:
`hilum prepare` divides such a volume by the 99th percentile inside the body and records the factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from .errors import SettingsError, did_you_mean
from .registry import Table

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    # Preparing a cohort needs no torch, and starts a second earlier in each process without it.
    Array = TypeVar("Array")

Unit = Literal["HU", "SUV", "um2/s", "a.u."]


@dataclass(frozen=True)
class Modality:
    """How the values of one modality are read, stored and shown.

    Attributes:
        name: Key in manifests, stores and settings.
        unit: Unit of stored values; um2/s is that of a map of apparent diffusion.
        low: Lower end of the window that a network sees, in `unit`.
        high: Upper end.
        scale: `linear` maps the window to [-1, 1]; `log` maps `x` to `log(1 + x)`, which stretches
            SUV 1 to 10, where nodes live.
        fill: Value outside the field of view: air for CT, none for PET.
        plausible: Values outside of this range mean a wrong unit or a damaged file.
        show: Window of pictures, in `unit`.
    """

    name: str
    unit: Unit
    low: float
    high: float
    scale: Literal["linear", "log"]
    fill: float
    plausible: tuple[float, float]
    show: tuple[float, float]

    def __post_init__(self) -> None:
        """Raise an error if the window is none."""
        if not self.low < self.high or (self.scale == "log" and self.low < 0):
            raise SettingsError(
                "a window must rise, and begin at 0 or above on a log scale",
                found=f"{self.low:g} to {self.high:g}",
                remedy="give its low end first",
            )

    def encode(self, physical: Array) -> Array:
        """Map physical values to the scale of a network; values outside of the window saturate."""
        x = physical.clip(self.low, self.high)
        if self.scale == "log":
            return np.log1p(x) if isinstance(x, np.ndarray) else x.log1p()
        return (x - (self.low + self.high) / 2) / ((self.high - self.low) / 2)

    def decode(self, encoded: Array) -> Array:
        """Undo `encode` for values inside the window."""
        if self.scale == "log":
            return np.expm1(encoded) if isinstance(encoded, np.ndarray) else encoded.expm1()
        return encoded * ((self.high - self.low) / 2) + (self.low + self.high) / 2


_OURS = {
    "ct": Modality("ct", "HU", -160, 240, "linear", -1024, (-4096, 32767), (-160, 240)),
    "cbct": Modality("cbct", "HU", -500, 500, "linear", -1024, (-4096, 32767), (-300, 300)),
    "pet": Modality("pet", "SUV", 0, 40, "log", 0, (-5, 500), (0, 8)),
    "spect": Modality("spect", "SUV", 0, 40, "log", 0, (-5, 500), (0, 8)),
    "mr": Modality("mr", "a.u.", 0, 2, "linear", 0, (-1e6, 1e6), (0, 1)),
    # Diffusion-weighted at a high b-value: like PET, a few bright places in much dark.
    "mr_dwi": Modality("mr_dwi", "a.u.", 0, 4, "log", 0, (-1e6, 1e6), (0, 1)),
    # A map with an absolute scale: 1000 um2/s are 1e-3 mm2/s.
    "mr_adc": Modality("mr_adc", "um2/s", 0, 3000, "linear", 0, (-1e3, 2e4), (0, 2500)),
    "us": Modality("us", "a.u.", 0, 1.5, "linear", 0, (-1e6, 1e6), (0, 1)),
    "other": Modality("other", "a.u.", 0, 2, "linear", 0, (-1e6, 1e6), (0, 1)),
}

MODALITIES: Table[Modality] = Table(
    "modalities", _OURS, base="hilum.core.modality:Modality", objects=True
)
"""Ours and those of others, by name."""


def modality(name: str) -> Modality:
    """Return the rules for a modality name: its own, such as `mr_adc`, or of the part before `_`.

    Raises:
        SettingsError: If neither the name nor the part before its first `_` is known.
    """
    family = name if name in MODALITIES else name.split("_", 1)[0]
    if family not in MODALITIES:
        raise SettingsError(
            f"unknown modality {name!r}{did_you_mean(name, MODALITIES)}",
            remedy=f"use {', '.join(MODALITIES)}, with a suffix for a sequence, as in mr_t1; "
            "other_<name> for any other scan",
        )
    return MODALITIES[family]


def register(rule: Modality) -> None:
    """Add a modality of one's own to the table of this process.

    Child processes know it only if it is an entry point of the group `hilum.modalities`.

    Raises:
        SettingsError: If the name is there already.
    """
    MODALITIES.register(rule.name, rule)
