"""The study file: which factors vary, what stays constant, and what is compared with what."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ..core.settings import Settings

Overrides = dict[str, Any]
"""Settings of `hilum finetune` by dotted key; `pretrain` holds settings of `hilum pretrain`."""


class StudySettings(Settings):
    """A grid of fine-tuning runs, and the pretraining runs that they need.

    A factor is either a dotted setting with its values (`seed: [0, 1]`), or a name with named
    levels, each of them a group of settings (`fusion: {early: {fusion: {name: early}}}`).
    """

    name: str = Field(description="name of the study; W&B project", pattern=r"^[\w.-]+$")
    question: str = Field("", description="one sentence that the report opens with")
    store: str = Field(description="case store")
    factors: dict[str, dict[str, Overrides] | list[Any]] = Field(description="what varies")
    finetune: Overrides = Field(default_factory=dict, description="constant fine-tuning settings")
    pretrain: Overrides = Field(default_factory=dict, description="constant pretraining settings")
    exclude: list[dict[str, Any]] = Field(
        default_factory=list, description="combinations of levels to leave out"
    )
    reference: dict[str, Any] = Field(
        default_factory=dict, description="levels that the others are compared with"
    )
    metric: str = Field("dice", description="per-case metric of the paired comparisons")
    conditions: list[str] = Field(
        default_factory=list, description="modality subsets at test time, such as 'ct' or 'ct+pet'"
    )

    @model_validator(mode="after")
    def _factors_have_levels(self) -> StudySettings:
        for name, levels in self.factors.items():
            if not levels:
                raise ValueError(f"factor {name!r} has no levels; remove it or give it some")
        for place, rows in (("exclude", self.exclude), ("reference", [self.reference])):
            for row in rows:
                for name, level in row.items():
                    self._check_level(place, name, level)
        return self

    def _check_level(self, place: str, name: str, level: Any) -> None:
        if name not in self.factors:
            raise ValueError(f"{place} names {name!r}, which is no factor of the study")
        if level not in self.factors[name]:
            known = ", ".join(map(str, self.factors[name]))
            raise ValueError(f"{place} names level {level!r} of {name!r}; it has {known}")
