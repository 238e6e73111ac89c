"""What a folder of proposals says of each case: `proposal.json`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError
from hilum.core.files import read_json, write_json
from hilum.core.geometry import Grid

NAME = "proposal.json"
PROPOSED = ".proposed.nii.gz"


@dataclass(frozen=True)
class Proposal:
    """What was proposed for a case.

    Attributes:
        case: Its name.
        folder: Where its files are.
        patient: Of the case.
        grid: Of the masks.
        scan: Modality whose grid it is.
        scans: Hash of the voxels of each scan, as `datasets.io.content` makes it.
        names: Of the classes but the background.
        mask: Hash of the voxels of the proposed mask.
        by: What tells the segmenter from others, and its folder.
        point: Operating point in words.
        made: Time, UTC.
        key: Same for the same case, weights and settings.
        nodes: Rows of the proposals, as numbered.
        files: Hash of each file with a mask, as it was written.
    """

    case: str
    folder: Path
    patient: str
    grid: Grid
    scan: str
    scans: dict[str, str]
    names: tuple[str, ...]
    mask: str
    by: dict[str, str]
    point: str
    made: str
    key: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def mask_file(self) -> Path:
        """The mask to correct."""
        return self.folder / f"{self.case}.nii.gz"

    @property
    def mask_of_proposal(self) -> Path:
        """The mask as it was proposed, apart from what labellers save over."""
        return self.folder / PROPOSED

    def write(self, folder: Path) -> None:
        """Write `proposal.json`."""
        about = {key: value for key, value in vars(self).items() if key != "folder"}
        write_json(folder / NAME, about | {"grid": self.grid.as_json()})


def read_proposal(folder: Path) -> Proposal:
    """Read what was proposed for the case of a folder.

    Raises:
        DataError: If the folder holds no proposal.
    """
    if not (folder / NAME).is_file():
        raise DataError(
            f"a folder of a proposal must hold {NAME}",
            file=folder,
            remedy="give the folder that `hilum annotate propose` wrote",
        )
    about = read_json(folder / NAME)
    try:
        names = tuple(about.pop("names"))
        return Proposal(folder=folder, grid=Grid.from_json(about.pop("grid")), names=names, **about)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{NAME} must be as it was written",
            file=folder / NAME,
            found=error,
            remedy="propose again into a new folder",
        ) from None


def proposals_in(folder: str | Path) -> dict[str, Proposal]:
    """Return the proposals of a folder by case.

    Raises:
        DataError: If there is none.
    """
    place = Path(folder)
    found = {one.case: one for one in (read_proposal(p) for p in _places(place))}
    if not found:
        raise DataError(
            "the folder must hold proposals",
            file=place,
            remedy="make them with `hilum annotate propose SEGMENTER MANIFEST --out DIR`",
        )
    return found


def _places(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path.parent for path in sorted(place.glob(f"*/{NAME}")))
