"""The DICOM series that a case was imported from, as the import noted it next to the volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hilum.core.case import Case
from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.files import read_json

RECORD = "source.json"
"""What `hilum import dicom` writes next to the volumes of a case."""


class Origin(NamedTuple):
    """Where a volume comes from.

    Attributes:
        folder: Holds the series, among others or alone.
        series: SeriesInstanceUID; `None` leaves it to the folder.
    """

    folder: Path
    series: str | None = None


def origin_of(case: Case, modality: str) -> Origin | None:
    """Return the series of a modality if the import noted one and its folder is still there."""
    if modality not in case.volumes:
        return None
    record = case.volumes[modality].parent / RECORD
    if not record.is_file():
        return None
    about: dict[str, Any] = read_json(record)
    found = about.get("volumes", {}).get(modality, {})
    folder = Path(found.get("folder") or "")
    if not found.get("series") or not folder.is_absolute() or not folder.is_dir():
        return None
    return Origin(folder, found["series"])


def named_series(
    dicom: Mapping[str, Path], formats: Sequence[str], cases: Sequence[Case]
) -> dict[str, Origin]:
    """Return the series that were named, by case.

    Raises:
        SettingsError: If no DICOM is to be written, or a name is no case's that gets proposals.
    """
    names = [case.id for case in cases]
    if wrong := [name for name in dicom if name not in names]:
        raise SettingsError(
            f"--dicom must name a case that gets proposals{did_you_mean(wrong[0], names)}",
            found=", ".join(wrong[:5]),
            remedy="name it as the manifest does",
        )
    if dicom and "dicom" not in formats:
        raise SettingsError(
            "a DICOM series is for the format dicom",
            found=f"formats {', '.join(formats)}",
            remedy="add formats=[slicer,itksnap,dicom], or leave out --dicom",
        )
    return {case: Origin(folder) for case, folder in dicom.items()}


def say_without(
    cases: Sequence[Case], dicom: Mapping[str, Path], say: Callable[[str], None]
) -> None:
    """Say how many cases have no series, neither named nor noted by their import."""
    without = [
        case.id
        for case in cases
        if case.id not in dicom and not any(origin_of(case, name) for name in case.volumes)
    ]
    if without:
        say(
            f"no DICOM SEG for {len(without)} cases whose series is not known: the import noted "
            f"none, or its folder is gone; --dicom {without[0]}=FOLDER names it"
        )
