"""Regions that predicted masks have of their own: an evaluation measures them, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hilum.core.errors import DataError
from hilum.core.notes import Note
from hilum.evaluation.settings import EvaluationSettings

from ..operating.regions import Regions, regions_of_report


def regions_beside(file: Path, case: str) -> Regions | None:
    """Return the regions that `<case>_report.json` next to a mask names; nothing without any."""
    return regions_of_report(file.parent / f"{case}_report.json")


def with_own_regions(
    settings: EvaluationSettings, files: Mapping[str, Path]
) -> tuple[EvaluationSettings, list[Note]]:
    """Return settings that measure the regions of a region segmenter, and a note that says so.

    Settings with regions of their own are left as they are.

    Args:
        settings: Of the evaluation.
        files: Mask of each case.

    Raises:
        DataError: If masks have different regions.
    """
    if settings.regions or settings.instances != "none":
        return settings, []
    found = {name: regions_beside(file, name) for name, file in files.items()}
    named = {name: own for name, own in found.items() if own is not None}
    if not named:
        return settings, []
    first, regions = next(iter(named.items()))
    for name, own in named.items():
        if own != regions:
            raise DataError(
                "masks of one evaluation must have the same regions",
                case=name,
                file=files[name],
                found=f"{', '.join(own.names)}; {', '.join(regions.names)} in {first}",
                remedy="evaluate them by themselves, or name regions",
            )
    values = {name: list(own) for name, own in zip(regions.names, regions.values, strict=True)}
    text = f"the masks have regions, which are measured in addition: {', '.join(values)}"
    return settings.model_copy(update={"regions": values}), [Note("info", "regions", text, "")]
