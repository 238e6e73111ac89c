"""Find the DICOM series that a mask belongs to, and bring the mask onto its slices exactly."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.errors import DataError
from hilum.core.geometry import Grid, lattice_match
from hilum.datasets.dicom.headers import crawl
from hilum.datasets.dicom.series import Series, group
from hilum.datasets.io.lattice import place_mask
from hilum.datasets.io.nifti import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

LEAST_SLICES = 2
_EMPTY = (
    "AccessionNumber", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
"""May be empty in a header (type 2), yet highdicom wants them there."""


@dataclass(frozen=True)
class Scan:
    """A series of single slices, with a mask on it.

    Attributes:
        name: What to call the series in messages.
        uid: SeriesInstanceUID.
        headers: One per slice, in the order of the mask, without pixels.
        grid: Of the slices.
        mask: uint8 `[D, H, W]` on `grid`; unknown voxels (255) are background.
    """

    name: str
    uid: str
    headers: Sequence[Dataset]
    grid: Grid
    mask: np.ndarray

    def new_uid(self, *what: object) -> str:
        """Return a UID for `what`, that the same mask on the same series gets again."""
        text = "\n".join([self.uid, self._digest, *map(str, what)])
        # PS3.5 B.2: 2.25. before a number of 128 bits.
        return f"2.25.{int(sha256(text.encode()).hexdigest()[:32], 16)}"

    @cached_property
    def _digest(self) -> str:
        return sha256(np.ascontiguousarray(self.mask).tobytes()).hexdigest()


def find_scan(mask: np.ndarray, grid: Grid, folder: str | Path, series: str | None = None) -> Scan:
    """Return the CT series below `folder` that a mask was made on, with the mask on its slices.

    Scouts and other short series do not count. Of several CT series, it is the only one on whose
    grid the mask lies.

    Args:
        mask: Whole numbers `[D, H, W]`, below 255; 255 is unknown and becomes background.
        grid: Where it lies: the grid of the series, with its axes in any order and direction, or a
            box cut from it.
        folder: Searched with all folders below.
        series: SeriesInstanceUID, to take this series whatever others there are; it may be a PET
            or an MR, too.

    Raises:
        DataError: If there is no such series or more than one, slices are missing, or the mask
            lies on another grid or marks nothing.
    """
    _check_mask(mask, grid)
    candidates = _candidates(Path(folder), series)
    fits: list[Scan] = []
    errors: list[DataError] = []
    for one in candidates:
        try:
            fits.append(_on(mask, grid, one, Path(folder)))
        except DataError as error:
            errors.append(error)
    # A box of a longer scan may lie on it, too: the scan of the mask's own size is meant.
    fits = [fit for fit in fits if lattice_match(fit.grid, grid).kind != "offset"] or fits
    if len(fits) == 1:
        return fits[0]
    if len(candidates) == 1:
        raise errors[0]
    listed = [f"{one.name} ({one.uid})" for one in (fits or candidates)]
    if fits:
        raise DataError(
            "the mask must lie on one series only",
            file=folder,
            found=f"{len(listed)} CT series on its grid: {'; '.join(listed)}",
            remedy="name one by its SeriesInstanceUID",
        )
    raise DataError(
        "the mask must lie on one of the CT series",
        file=folder,
        found=f"{len(listed)}: {'; '.join(listed)}",
        remedy=f"of the first: {errors[0].rule}, found {errors[0].found}",
    )


def completed(headers: Sequence[Dataset]) -> list[Dataset]:
    """Return copies of headers with every tag that a new object of the study takes from them."""
    found = []
    for header in headers:
        one = copy(header)
        for keyword in _EMPTY:
            if keyword not in one:
                setattr(one, keyword, "")
        found.append(one)
    return found


def _check_mask(mask: np.ndarray, grid: Grid) -> None:
    if mask.shape != grid.shape:
        raise DataError(
            "a mask must have the shape of its grid",
            found=f"{mask.shape} and {grid.shape}",
            remedy="give the grid of this very mask",
        )
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if mask.dtype.kind not in "biu" or low < 0 or high > IGNORE:
        raise DataError(
            "a mask must hold whole numbers from 0 to 255",
            found=f"{mask.dtype} from {low} to {high}",
            remedy="save classes as uint8",
        )
    if not ((mask != 0) & (mask != IGNORE)).any():
        raise DataError(
            "the mask must mark something",
            found="no voxel",
            remedy="a case without nodes has nothing to draw on its scan",
        )


def _candidates(folder: Path, uid: str | None) -> list[Series]:
    """Return the series that the mask may lie on."""
    every = group(crawl(folder).headers)
    found = ", ".join(sorted({f"{one.name} ({one.kind}, {one.uid})" for one in every}))
    volumes = [one for one in every if one.kind in ("CT", "PT", "MR")]
    if uid is not None:
        named = [one for one in volumes if one.uid == uid]
        if not named:
            raise DataError(
                f"the folder must hold series {uid}",
                file=folder,
                found=found or "no DICOM series",
                remedy="give the folder of the scan that was predicted",
            )
        return named
    ct = [one for one in volumes if one.kind == "CT" and one.places.size and not _scout(one)]
    if not ct:
        raise DataError(
            "the folder must hold a CT series",
            file=folder,
            found=found or "no DICOM series",
            remedy="give the folder of the CT that was segmented"
            + ("; for a mask on another series name its SeriesInstanceUID" if volumes else ""),
        )
    return ct


def _scout(series: Series) -> bool:
    words = series.first.words("ImageType")
    return "LOCALIZER" in words or len(series.headers) < LEAST_SLICES


def _on(mask: np.ndarray, grid: Grid, series: Series, folder: Path) -> Scan:
    """Return one series with the mask on it, or raise why it cannot be."""
    from hilum.datasets.dicom.volume import read_slices

    if series.enhanced:
        raise DataError(
            "the series must have a file for each slice",
            file=folder,
            found=f"{series.name}, with many frames in a file",
            remedy="export it as classic single-frame DICOM",
        )
    slices = read_slices([header.file for header in series.headers])
    known = np.where(mask == IGNORE, 0, mask).astype(np.uint8)
    # A note would say that the mask is a box of the series, which changes nothing that is marked.
    moved, _ = place_mask(
        Volume(known, grid), slices.grid, file=folder, what="the mask", scan=series.name
    )
    return Scan(series.name, series.uid, slices.headers, slices.grid, moved.array)
