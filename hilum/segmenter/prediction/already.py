"""How a call predicts, and whether a case is there already from a call that did alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of, hash_of_file, read_json

from ..inference.settings import InferenceSettings, Precision, Uncertainty
from ..operating.point import OperatingPoint


@dataclass(frozen=True)
class PredictSettings:
    """How one call predicts.

    Attributes:
        inference: Window, overlap and mirror images.
        point: Operating point.
        modalities: Use only these of each case.
        precision: Of the network.
        pictures: Whether to draw each case.
        uncertainty: Measure to map, if any.
        probability: Whether to write the probability of the foreground.
    """

    inference: InferenceSettings
    point: OperatingPoint
    modalities: tuple[str, ...] | None = None
    precision: Precision = "auto"
    pictures: bool = True
    uncertainty: Uncertainty | None = None
    probability: bool = False


def key_of(case: Case, identity: str, settings: PredictSettings) -> str:
    """Return what must be equal for a prediction to be as good as a new one."""
    used = {name: file for name, file in case.files.items() if name != "label"}
    for name, file in used.items():
        if not file.is_file():
            raise DataError(
                f"no such {name} file",
                case=case.id,
                file=file,
                remedy="mend the path in the manifest",
            )
    files = {name: hash_of_file(file) for name, file in used.items()}
    inference = settings.inference.model_dump()
    how = [settings.modalities, inference, settings.precision, settings.uncertainty]
    at = settings.point.model_dump(exclude={"record"})
    return hash_of([identity, how, files, at])


def files_of(case: str, settings: PredictSettings) -> list[str]:
    """Return the files of a case, the mask first."""
    ends = [".nii.gz", "_report.json", "_nodes.json", "_nodes.csv"]
    ends += [".png", ".html"] * settings.pictures
    ends += ["_uncertainty.nii.gz"] * (settings.uncertainty is not None)
    ends += ["_probability.nii.gz"] * settings.probability
    return [case + end for end in ends]


def is_there(out: Path, row: Mapping[str, Any] | None, key: str, files: Sequence[str]) -> bool:
    """Tell whether a case was predicted with this key, and its mask and files are as they were."""
    if row is None or row.get("key") != key:
        return False
    if not all((out / file).is_file() for file in files):
        return False
    return row.get("mask_hash") == hash_of_file(out / files[0])


def check_names(case: str, files: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise an error if a file of a case is one of another case, as on disks that fold case."""
    own = {file.casefold() for file in files}
    for other, row in rows.items():
        taken = own & {str(file).casefold() for file in row.get("files", ())}
        if other != case and taken:
            raise DataError(
                "no two cases may write one file",
                case=case,
                found=f"{min(taken)}, which is of case {other}",
                remedy="rename one of them, or predict it into another folder",
            )


def rows_of(summary: Path) -> dict[str, dict[str, Any]]:
    """Return the row of each case that earlier calls predicted; none without a summary."""
    about = read_json(summary) if summary.is_file() else {"cases": {}}
    rows = about.get("cases") if isinstance(about, dict) else None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise DataError(
            "the summary must hold a row for each case",
            file=summary,
            remedy="remove it: the cases are predicted again",
        )
    return rows
