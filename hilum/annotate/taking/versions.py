"""Every label that was ever taken, by case and rater, with what is known of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from annotated_types import Ge
from pydantic import ConfigDict
from typing_extensions import TypedDict

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json, write_json
from hilum.core.geometry import Grid
from hilum.core.plain import check_shape
from hilum.core.side_files import Count, Number
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import check_id

PLAIN = re.compile(r"[\w.-]+( [\w.-]+)*")
AGAIN = "restore the file from a backup, or remove that version"


class ChangesFile(TypedDict):
    """What a labeller changed, as `changes` found it."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # pyright: ignore[reportGeneralTypeIssues]
    added: Count
    removed: Count
    redrawn: Count
    kept: Count
    dice: Number
    before_ml: Number
    after_ml: Number


class VersionFile(TypedDict):
    """`<number>.json` next to a label that was taken."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # pyright: ignore[reportGeneralTypeIssues]
    case: str
    rater: str
    number: Annotated[int, Ge(1)]
    when: str
    source: dict[str, str]
    matched: str
    proposal: dict[str, Any]
    changes: ChangesFile
    unknown_ml: Number
    statuses: NotRequired[dict[str, str]]
    round: NotRequired[Annotated[int, Ge(1)]]


@dataclass(frozen=True)
class Version:
    """A label of a case by a rater.

    Attributes:
        case: Of the store.
        rater: Who.
        number: From 1 on, for this rater.
        when: Time it was taken, UTC.
        source: File that it came from, and its hash.
        matched: How one knew the case.
        proposal: What it was corrected from: segmenter, mask and time.
        changes: From the proposal: nodes added, removed, redrawn, kept; Dice; volumes.
        unknown_ml: Volume that nobody looked at.
        statuses: Of segments, where the format has any.
        round: Of labelling.
    """

    case: str
    rater: str
    number: int
    when: str
    source: dict[str, str]
    matched: str
    proposal: dict[str, Any]
    changes: dict[str, Any]
    unknown_ml: float
    statuses: dict[str, str] = field(default_factory=dict)
    round: int = 1

    def file(self, labels: Path) -> Path:
        """Where the label lies."""
        return labels / self.case / self.rater / f"{self.number}.nii.gz"


def check_rater(rater: str) -> str:
    """Return the name of a rater, or raise an error if it cannot name a folder."""
    if not PLAIN.fullmatch(rater):
        raise SettingsError(
            "a rater must have a name of letters, digits, spaces, . - and _",
            found=repr(rater),
            remedy="as in --rater 'A. Example'",
        )
    return check_id(rater)


def versions(labels: Path) -> Iterator[Version]:
    """Yield every version in a folder of labels, by case, rater and number.

    Raises:
        DataError: If what is said of one is damaged.
    """
    for file in sorted(labels.glob("*/*/*.json"), key=_order):
        about = read_json(file)
        check_shape(about, VersionFile, file=file, what="a version", remedy=AGAIN, error=DataError)
        yield Version(**about)


def next_number(labels: Path, case: str, rater: str) -> int:
    """Return the number of a rater's next label of a case."""
    own = (labels / case / rater).glob("*.json")
    return max((int(file.stem) for file in own if file.stem.isdigit()), default=0) + 1


def write_version(labels: Path, version: Version, mask: np.ndarray, grid: Grid) -> Path:
    """Write a label and then what is said of it; nothing that is there is written over."""
    file = write_volume(version.file(labels), mask, grid, np.uint8)
    write_json(file.with_name(f"{version.number}.json"), asdict(version))
    return file


def _order(file: Path) -> tuple[str, str, int]:
    number = int(file.stem) if file.stem.isdigit() else 0
    return file.parent.parent.name, file.parent.name, number
