"""The operating point of a segmenter: a part of its `config.json`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from hilum.core.errors import SettingsError
from hilum.core.settings import Settings, validate


class OperatingPoint(Settings):
    """How probabilities become a mask. The default is the most probable class, nothing filtered.

    In this order: the temperature changes probabilities; a threshold per class decides voxels;
    holes are filled; a component (26 neighbours, within a class) is dropped that is too small and,
    if there is a floor, too cold as well, or that is too large; of those that are left the largest
    are kept.

    Source:
        A floor that counts together with the volume: autoPET V, Volyagers (0.35 ml and SUVmax 6);
        smallest volume and number of components: HECKTOR 2026, HERMES. Temperature: Guo et al., "On
        Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, here on the mean of
        the probabilities.
    """

    format: Literal[1] = Field(1, description="version of this schema")
    thresholds: tuple[float, ...] = Field(
        (),
        description="probability above which a voxel is of each class but the background, 0 to 1; "
        "of several classes the one that exceeds its own by the largest factor wins; empty: the "
        "most probable class, or 0.5 for each region",
    )
    temperature: float = Field(
        1.0, gt=0, description="temperature of the probabilities; above 1: less sure"
    )
    fill_holes: bool = Field(False, description="whether holes inside a component are filled")
    min_volume_ml: float = Field(0.0, ge=0, description="minimum volume of a kept component, ml")
    max_volume_ml: float | None = Field(
        None, gt=0, description="maximum volume of a kept component, ml; empty: any"
    )
    suv_floor: float | None = Field(
        None,
        gt=0,
        description="SUVmax from which on a component below min_volume_ml is kept; one whose "
        "uptake is unknown is kept, too; empty: volume alone decides",
    )
    at_most: int | None = Field(
        None, ge=1, description="most components of each class, the largest; empty: all"
    )
    record: dict[str, Any] = Field(
        default_factory=dict, description="how the point was chosen; empty: it was not"
    )

    @field_validator("thresholds")
    @classmethod
    def _probabilities(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            if not 0 < value < 1:
                raise ValueError("a threshold must be between 0 and 1, neither of them included")
        return values

    @model_validator(mode="after")
    def _floor_with_volume(self) -> OperatingPoint:
        if self.suv_floor is not None and not self.min_volume_ml:
            raise ValueError(
                "suv_floor needs min_volume_ml: a component is dropped only if it fails both; for "
                "the floor alone set a volume that no component reaches"
            )
        if self.max_volume_ml is not None and self.max_volume_ml < self.min_volume_ml:
            raise ValueError(
                f"max_volume_ml must be at least min_volume_ml: {self.max_volume_ml:g} is below "
                f"{self.min_volume_ml:g}, and nothing would be kept"
            )
        return self

    @property
    def is_default(self) -> bool:
        """Whether the mask is the most probable class as it is, and probabilities are, too."""
        return self.model_copy(update={"record": {}}) == ARGMAX

    @property
    def filters(self) -> bool:
        """Whether components are looked at."""
        return bool(self.fill_holes or self.min_volume_ml or self.max_volume_ml or self.at_most)

    def words(self, overlapping: bool = False) -> str:
        """Return the point in words.

        Args:
            overlapping: Whether the classes are regions: each is then decided by itself.
        """
        parts = ["each region above 0.5" if overlapping else "most probable class"]
        if self.thresholds:
            parts = [f"probability above {', '.join(f'{t:.3g}' for t in self.thresholds)}"]
        if self.temperature != 1:
            parts.append(f"temperature {self.temperature:.3g}")
        if self.fill_holes:
            parts.append("holes filled")
        if self.suv_floor is not None and self.min_volume_ml == self.max_volume_ml:
            parts.append(f"components of SUVmax below {self.suv_floor:g} dropped")
        elif self.min_volume_ml:
            floor = f" and SUVmax below {self.suv_floor:g}" if self.suv_floor is not None else ""
            parts.append(f"components below {self.min_volume_ml:.3g} ml{floor} dropped")
        if self.max_volume_ml:
            parts.append(f"components above {self.max_volume_ml:.3g} ml dropped")
        if self.at_most:
            parts.append(f"at most {self.at_most} components of a class")
        return ", ".join(parts)


ARGMAX = validate(OperatingPoint, {})
"""The default: the most probable class, nothing filtered."""


def asked_point(
    own: OperatingPoint, classes: int, threshold: float | None, raw: bool
) -> OperatingPoint:
    """Return the point to predict at: the segmenter's own unless something else is asked for.

    Raises:
        SettingsError: If both are asked for, or the threshold is not between 0 and 1.
    """
    if raw and threshold is not None:
        raise SettingsError("raw and threshold cannot go together", remedy="choose one")
    if raw:
        return ARGMAX
    return own if threshold is None else at_threshold(own, threshold, classes)


def at_threshold(point: OperatingPoint, threshold: float, classes: int) -> OperatingPoint:
    """Return a point with one threshold for every class, and what else it has.

    Raises:
        SettingsError: If the threshold is not between 0 and 1.
    """
    changed = {"thresholds": (threshold,) * (classes - 1), "record": {"by": "hand"}}
    return validate(OperatingPoint, point.model_dump() | changed)


def middle(points: list[OperatingPoint]) -> OperatingPoint:
    """Return the point of an ensemble: the median of its members', each part by itself.

    Members that decide by the most probable class count as thresholds of 0.5 next to others. A
    floor, a maximum volume or a largest number holds if most members have one.
    """
    first = points[0]
    if all(point == first for point in points):
        return first
    thresholds: tuple[float, ...] = ()
    if any(point.thresholds for point in points):
        number = max(len(point.thresholds) for point in points)
        rows = [point.thresholds or (0.5,) * number for point in points]
        thresholds = tuple(float(value) for value in np.median(rows, 0))
    volume = float(np.median([point.min_volume_ml for point in points]))
    floors = [point.suv_floor for point in points if point.suv_floor is not None]
    large = [point.max_volume_ml for point in points if point.max_volume_ml is not None]
    numbers = [point.at_most for point in points if point.at_most is not None]
    most = len(points) / 2
    return validate(
        OperatingPoint,
        {
            "thresholds": thresholds,
            "temperature": float(np.median([point.temperature for point in points])),
            "fill_holes": sum(point.fill_holes for point in points) > most,
            "min_volume_ml": volume,
            # Maxima of few members may lie below the median of all minima.
            "max_volume_ml": max(float(np.median(large)), volume) if len(large) > most else None,
            "suv_floor": float(np.median(floors)) if volume and len(floors) > most else None,
            "at_most": round(float(np.median(numbers))) if len(numbers) > most else None,
            "record": {"by": f"median of {len(points)} segmenters"},
        },
    )
