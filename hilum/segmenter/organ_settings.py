"""Settings of the organ head."""

from __future__ import annotations

from pydantic import Field, field_validator

from hilum.core.settings import Settings


class OrganSettings(Settings):
    """Whether the network learns organs next to the nodes; prediction calls them background."""

    numbers: tuple[int, ...] = Field(
        (), max_length=64, description="organ numbers in the anatomy masks to learn; empty: none"
    )
    weight: float = Field(0.3, gt=0, description="weight of the loss of the organs, no unit")

    @field_validator("numbers")
    @classmethod
    def _each_once(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(numbers)) < len(numbers) or any(not 0 < n < 256 for n in numbers):
            raise ValueError("each organ must be a number from 1 to 255, named once")
        return numbers
