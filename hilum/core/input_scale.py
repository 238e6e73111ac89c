"""The scale of a network's input: the fixed window of a modality, or each volume's own z-score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .modality import Array, modality

ScaleName = Literal["window", "zscore"]
"""`window`: as `Modality.encode` says, the same for every case; `zscore`: see `standardise`."""

LEAST_DEVIATION = 1e-8
"""Of nnU-Net's `ZScoreNormalization`: a volume of one value becomes zeros."""


def scale_of(name: str, scale: ScaleName = "window") -> dict[str, Any]:
    """Return how a modality's values become the input of a network, for `config.json`."""
    rule = modality(name)
    if scale == "zscore":
        return {"unit": rule.unit, "scale": "zscore"}
    return {"unit": rule.unit, "low": rule.low, "high": rule.high, "scale": rule.scale}


def zscored(intensity: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the modalities that are scaled by each volume's own mean and deviation."""
    return tuple(name for name, scale in intensity.items() if scale.get("scale") == "zscore")


def standardise(physical: Array, mean: Any, deviation: Any) -> Array:
    """Return the z-score of values by the mean and the deviation of their whole volume.

    What lies outside of the field of view is to be 0, the mean, as in nnU-Net's padding.
    """
    return (physical - mean) / deviation
