"""How a call predicts, and whether a case is there already from a call that did alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of, hash_of_file

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
            raise DataError(f"the {name} file must exist", case=case.id, file=file)
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
    """Tell whether a case was predicted with this key, and all of its files are left."""
    if row is None or row["key"] != key:
        return False
    return all((out / file).is_file() for file in files)
