"""What is pasted of lymph nodes: numbers, sizes, looks, and the controls of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from hilum.core.errors import SettingsError
from hilum.core.geometry import Triple
from hilum.core.settings import Settings, validate

from .node_shapes import Family

Control = Literal["none", "shuffled", "noise"]


class Recipe(Settings):
    """What is pasted, of what size and look, and the controls of both."""

    nodes: int = Field(
        6, ge=1, description="most nodes of a patch; each is there with a probability of 2 in 3"
    )
    decoys: int = Field(
        2, ge=0, description="most decoys of each of four kinds, each with a probability of 1 in 2"
    )
    stations: int = Field(2, ge=1, description="groups that the nodes of a patch lie in")
    spread_mm: float = Field(
        12.0, ge=0, description="standard deviation of the distance from the station per axis, mm"
    )
    short_mm: tuple[float, float] = Field(
        (4.0, 30.0), description="lower and upper bound of the short axis, mm"
    )
    long_mm: float = Field(60.0, gt=0, description="upper bound of the long axis, mm")
    misregistration_mm: float = Field(
        4.0, ge=0, description="root mean square of the distance between density and uptake, mm"
    )
    resolution_mm: tuple[float, float] = Field(
        (4.0, 9.0), description="bounds of the resolution (FWHM) of uptake, mm; the case decides"
    )
    hilum: float = Field(0.15, ge=0, le=1, description="fraction of nodes with a fatty hilum")
    necrosis: float = Field(0.12, ge=0, le=1, description="fraction of nodes with a dead middle")
    confluent: float = Field(
        0.3, ge=0, le=1, description="probability that a second node grows into the one before"
    )
    unknown: float = Field(
        0.3,
        gt=0,
        description="uptake from which on a voxel that was not pasted is unknown, as a fraction of "
        "the shown window (0.3 of SUV 8 is 2.4)",
    )
    family: Family = Field(
        "real", description="shapes: of real nodes, or as a control boxes or stars with spikes"
    )
    foreign: bool = Field(
        False, description="whether density and uptake have rings that no node has, as a control"
    )
    control: Control = Field(
        "none",
        description="shuffled: uptake of another patch of the batch; noise: noise in place of "
        "nodes. Both teach nothing of nodes",
    )

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        for name in ("short_mm", "resolution_mm"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two lengths above 0, the lesser first")
        if self.hilum + self.necrosis > 1:
            raise ValueError("hilum and necrosis must be fractions of 0 to 1 together, too")
        if self.long_mm < self.short_mm[1]:
            raise ValueError(
                "the long axis must be allowed to be as long as the short one, not "
                f"{self.long_mm:g} for short_mm up to {self.short_mm[1]:g}: enlarge long_mm"
            )
        return self


USUAL = validate(Recipe, {})


def check_voxels(recipe: Recipe, spacing: Triple, where: str = "task") -> None:
    """Refuse voxels that the largest node is not two of wide; `where` is in settings."""
    if recipe.short_mm[1] < 2 * max(spacing):
        raise SettingsError(
            "the greatest node must be two voxels wide",
            found=f"short_mm up to {recipe.short_mm[1]:g}, voxels of {max(spacing):g} mm",
            remedy=f"enlarge {where}.short_mm, or prepare the store at a finer spacing",
        )


def check_sides(recipe: Recipe, patch: Sequence[int], spacing: Triple, where: str = "task") -> None:
    """Refuse patches that cannot hold the largest node across."""
    sides = [side * step for side, step in zip(patch, spacing, strict=True)]
    if recipe.short_mm[1] > min(sides):
        raise SettingsError(
            "a patch must be wider than the greatest node",
            found=f"short_mm up to {recipe.short_mm[1]:g}, a patch of "
            + " x ".join(f"{side:g}" for side in sides)
            + " mm",
            remedy=f"lower {where}.short_mm or enlarge patch",
        )
