"""The rows of the robustness matrix: which modalities there are, and what happens to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.modality import modality

from .perturbation import Perturbation
from .prepared_cases import Numbers
from .robustness_settings import RobustnessSettings


@dataclass(frozen=True)
class Row:
    """One row of the matrix.

    Attributes:
        condition: Modalities that the network may use, as in `ct+pet`.
        change: What happened to the changed modality.
        cases: Metrics of each case.
    """

    condition: str
    change: Perturbation
    cases: dict[str, Numbers] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The row in words."""
        c = self.change
        parts = [
            f"shift {c.shift_mm:g} mm" if c.shift_mm else "",
            f"values x {c.scale:g}" if c.scale != 1 else "",
            f"blur {c.fwhm_mm:g} mm" if c.fwhm_mm else "",
        ]
        return ", ".join([self.condition, *filter(None, parts)])


def rows_of(settings: RobustnessSettings, conditions: Sequence[str], moved: str) -> list[Row]:
    """Return the rows: each condition unchanged first; changes only where `moved` is used."""
    rows = []
    for condition in conditions:
        changes = [Perturbation()]
        if moved in condition.split("+"):
            changes += [Perturbation(d, s) for d in settings.shifts for s in settings.scales]
            plain = changes if settings.full else [Perturbation()]
            changes += [c._replace(fwhm_mm=w) for c in plain for w in settings.resolutions]
        rows += [Row(condition, change) for change in dict.fromkeys(changes)]
    return rows


def changed_modality(settings: RobustnessSettings, modalities: Sequence[str]) -> str:
    """Return the modality that is changed."""
    if settings.moved is not None:
        if settings.moved not in modalities:
            raise SettingsError(
                f"moved must be one of {', '.join(modalities)}"
                f"{did_you_mean(settings.moved, modalities)}",
                found=repr(settings.moved),
                remedy="choose one of these",
            )
        return settings.moved
    return next((m for m in modalities if modality(m).unit == "SUV"), modalities[-1])
