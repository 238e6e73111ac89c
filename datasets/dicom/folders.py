"""Take one volume from each folder of DICOM that a user names a modality for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.notes import Note

from ..conversion import Conversion
from ..source import Progress, Source
from .case import conversion_of
from .choose import why
from .contents import unfit
from .headers import Found, crawl, require_pydicom, shown
from .preference import ranked
from .series import Series, group
from .settings import DicomLayout

_KINDS = {"ct": "CT", "cbct": "CT", "pet": "PT", "mr": "MR"}
"""Kind of series by the part of a modality's name before `_`; other names take any."""


def is_dicom(path: Path) -> bool:
    """Say whether a path stands for DICOM: a folder, or a file that is no NIfTI."""
    return path.is_dir() or (path.is_file() and not path.name.lower().endswith((".nii", ".nii.gz")))


def conversion_of_folders(
    source: Source,
    made: Case,
    folders: Mapping[str, Path],
    settings: DicomLayout,
    label: Path | None = None,
) -> Conversion:
    """Return what converts one case whose volumes lie in folders of their own.

    Args:
        source: The request; files go below `source.out`.
        made: The case: its name, patient, and what is NIfTI already.
        folders: Folder, or one file of the series, by modality.
        settings: Of SUV and contours.
        label: RTSTRUCT or SEG, or a folder of them.

    Raises:
        DataError: If a folder holds no volume that fits its modality.
    """
    require_pydicom()
    volumes: dict[str, Series] = {}
    notes: list[Note] = []
    for modality, folder in folders.items():
        volumes[modality], found = volume_in(folder, modality, made.id, source.progress)
        notes += found
    drawn = [] if label is None else [s for s in _series(label) if s.kind in ("RTSTRUCT", "SEG")]
    if label is not None and not drawn:
        raise DataError(
            "a label must be NIfTI, RTSTRUCT or DICOM SEG",
            case=made.id,
            file=label,
            found="none",
            remedy="give a .nii.gz, or the folder of an RTSTRUCT or a SEG",
        )
    return conversion_of(source, made.id, volumes, drawn, settings=settings, notes=notes, made=made)


def volume_in(
    path: Path, modality: str, case: str | None = None, progress: Progress | None = None
) -> tuple[Series, list[Note]]:
    """Return the series of a folder that fits a modality best, and why.

    Args:
        path: The folder, or one file of the series.
        modality: What it is wanted for.
        case: For messages.
        progress: Gets how many headers are read, how many there are, and the modality.

    Raises:
        DataError: If there is none.
    """
    kind = _KINDS.get(modality.split("_")[0])
    every = _series(path, progress and (lambda done, total, _: progress(done, total, modality)))
    fits = [one for one in every if kind in (one.kind, None) and not unfit(one, wanted=False)]
    # What the user points at is meant, whatever its description says, if it is the only one.
    fits = fits or [one for one in every if kind in (one.kind, None) and not unfit(one, True)]
    if not fits:
        raise DataError(
            f"the folder must hold a DICOM series for {modality}",
            case=case,
            file=path,
            found="; ".join(f"{one.name} ({one.kind})" for one in every[:4]) or "no DICOM series",
            remedy="give the folder of that series alone",
        )
    found = ranked(fits)
    return found.order[0], why(modality, found)


def _series(path: Path, progress: Progress | None = None) -> Sequence[Series]:
    if path.is_dir():
        return group(crawl(path, progress=progress).headers)
    if not path.is_file():
        raise DataError("no such file or folder", file=path, remedy="check the path")
    # One file stands for its series.
    found: Found = crawl(path.parent, progress=progress)
    here = {h["SeriesInstanceUID"] for h in found.headers if h.file.name == path.name}
    if not here:
        raise DataError(
            "the file must be DICOM or NIfTI",
            file=shown(path),
            remedy="convert it to .nii.gz first",
        )
    return group(h for h in found.headers if h["SeriesInstanceUID"] in here)
