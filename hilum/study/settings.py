"""The study file: which factors vary, what stays constant, and what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from hilum.core.errors import did_you_mean
from hilum.core.settings import Settings

Overrides = dict[str, Any]
"""Settings of `hilum finetune` by dotted key; `pretrain` holds settings of `hilum pretrain`.

`pretrain.seed` and the like change the pretraining that another level asks for, and begin none.
"""


class StudySettings(Settings):
    """A grid of fine-tuning runs, and the pretraining runs that they need.

    A factor is either a dotted setting with its values (`seed: [0, 1]`), or a name with named
    levels, each of them a group of settings (`fusion: {early: {fusion: {name: early}}}`).
    """

    name: str = Field(description="name of the study; W&B project", pattern=r"^[\w.-]+$")
    question: str = Field("", description="one sentence that the report opens with")
    store: str | dict[str, str] = Field(
        description="case store, or several as one pool: {lung: FOLDER, neck: FOLDER}"
    )
    factors: dict[str, dict[str, Overrides] | list[Any]] = Field(
        description="factors with their levels"
    )
    finetune: Overrides = Field(default_factory=dict, description="constant fine-tuning settings")
    pretrain: Overrides = Field(default_factory=dict, description="constant pretraining settings")
    exclude: list[dict[str, Any]] = Field(
        default_factory=list,
        description="combinations of levels to leave out; a list of levels stands for each of them",
    )
    reference: dict[str, Any] = Field(
        default_factory=dict,
        description="reference level of a factor, which its other levels are compared with; a "
        "factor without one has no such comparisons",
    )
    metric: str = Field(
        "dice", description="metric of the comparisons, of cases or pooled (dscagg, f1agg)"
    )
    margin: float = Field(
        0.02, gt=0, description="equivalence margin, in units of the metric (Dice: 0 to 1)"
    )
    conditions: list[str] = Field(
        default_factory=list,
        description="modality subsets at test time, such as 'ct' or 'ct+pet'; empty: all, then "
        "each alone",
    )
    budget: float | None = Field(
        None,
        gt=0,
        description="hours of one worker that the rest of the study may take; the plan compares",
    )
    sbatch: dict[str, str | int] = Field(
        default_factory=dict,
        description="options of SLURM's sbatch, such as {partition: gpu, time: '8:00:00', "
        "gres: 'gpu:1'}",
    )

    def level(self, factor: str, level: Any) -> Overrides:
        """Return the settings of a level of a factor."""
        levels = self.factors[factor]
        return levels[level] if isinstance(levels, dict) else {factor: level}

    @model_validator(mode="after")
    def _factors_have_levels(self) -> StudySettings:
        if not self.factors:
            raise ValueError("a study must have factors, as in factors: {seed: [0, 1]}")
        for name, levels in self.factors.items():
            if not levels:
                raise ValueError(f"factor {name!r} has no levels; remove it or give it some")
            shown = [str(level) for level in levels]
            if twice := next((level for level in shown if shown.count(level) > 1), None):
                raise ValueError(f"factor {name!r} has level {twice} twice; name each level once")
        for place, rows in (("exclude", self.exclude), ("reference", [self.reference])):
            for row in rows:
                for name, level in row.items():
                    single = place != "exclude" or level in list(self.factors.get(name, ()))
                    several = isinstance(level, list) and not single
                    for one in level if several else [level]:
                        self._check_level(place, name, one)
        self._check_exclude()
        return self

    def _check_exclude(self) -> None:
        """Find rows that exclude all, a whole level, or the reference."""
        for row in self.exclude:
            if not row:
                raise ValueError("exclude has an empty row, which would leave out every cell")
            if self.reference and covers(row, self.reference):
                raise ValueError(f"exclude leaves out {row}, which is the reference")
            if len(row) == 1:
                [(name, level)] = row.items()
                raise ValueError(
                    f"exclude leaves out all cells with level {level!r} of {name!r}; "
                    "remove the level instead"
                )

    def _check_level(self, place: str, name: str, level: Any) -> None:
        if name not in self.factors:
            near = did_you_mean(name, self.factors)
            raise ValueError(f"{place} names {name!r}, which is no factor of the study{near}")
        if level not in list(self.factors[name]):
            known = ", ".join(map(str, self.factors[name]))
            raise ValueError(f"{place} names level {level!r} of {name!r}; it has {known}")


def covers(row: Mapping[str, Any], levels: Mapping[str, Any]) -> bool:
    """Tell whether a row of `exclude` leaves a combination of levels out."""
    return all(
        name in levels
        and (levels[name] == level or (isinstance(level, list) and levels[name] in level))
        for name, level in row.items()
    )
