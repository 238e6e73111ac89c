"""Read through SimpleITK what nibabel cannot: NRRD, MetaImage and a plain DICOM series."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hilum.core.errors import DataError, UserError
from hilum.core.geometry import Grid

from .nifti import Volume
from .slice_gaps import verdict

POSITION = "0020|0032"


def read_image(path: Path, case: str | None = None) -> Volume:
    """Read one file with the type of voxels it has.

    Raises:
        DataError: If it is missing, damaged, or not one number per voxel in three dimensions.
    """
    sitk = _library(path)
    if not path.is_file():
        raise DataError("no such file", case=case, file=path, remedy="check the path")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(error, path, case) from error
    return _volume(image, path, case)


def read_series(folder: Path, case: str | None = None) -> Volume:
    """Read the longest DICOM series of a folder, slices by place, each with its own rescaling.

    For public sets whose series are sound; `datasets.dicom` is for what hospitals send.

    Raises:
        DataError: If there is none, or its slices are unevenly spaced.
    """
    sitk = _library(folder)
    reader = sitk.ImageSeriesReader()
    series = [reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in _series(sitk, folder)]
    names = max(series, key=len, default=())
    if len(names) < 2:
        raise DataError(
            "the folder must hold a DICOM series",
            case=case,
            file=folder,
            found=f"{len(names)} slices",
            remedy="give the folder with the slices of one series",
        )
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(error, folder, case) from error
    _check_gaps([reader.GetMetaData(i, POSITION) for i in range(len(names))], folder, case)
    return _volume(image, folder, case)


def _check_gaps(positions: list[str], folder: Path, case: str | None) -> None:
    """Raise an error if a gap between slices is more than a tenth off; ITK would squeeze it in."""
    places = np.array([[float(part) for part in text.split("\\")] for text in positions])
    gaps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if gaps.max() > 1.1 * np.median(gaps) or gaps.min() < 0.9 * np.median(gaps):
        rule, found, remedy = verdict(gaps, np.concatenate([[0], np.cumsum(gaps)]))
        raise DataError(rule, case=case, file=folder, found=found, remedy=remedy)


def _series(sitk: ModuleType, folder: Path) -> tuple[str, ...]:
    return tuple(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))


def _volume(image: Any, path: Path, case: str | None) -> Volume:
    """Return the voxels `[D, H, W]` and their grid; ITK's world is LPS, ours RAS."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(
            "a volume must have three dimensions and one number per voxel",
            case=case,
            file=path,
            found=f"{image.GetDimension()} dimensions, "
            f"{image.GetNumberOfComponentsPerPixel()} numbers",
            remedy="write one volume; segments that overlap (layers of .seg.nrrd): a mask each",
        )
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(image)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    d, h, w = (int(n) for n in array.shape)
    return Volume(array, Grid((d, h, w), affine[:, [2, 1, 0, 3]]))


def _library(path: Path) -> ModuleType:
    try:
        import SimpleITK
    except ImportError:
        raise UserError(
            "SimpleITK must be installed to read this", file=path, remedy="pip install hilum[dicom]"
        ) from None
    # A damaged file is our one-line error, not a page on stderr.
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _unreadable(error: RuntimeError, path: Path, case: str | None) -> DataError:
    last = " ".join(str(error).strip().splitlines()[-1].split())
    return DataError(
        "the file must be readable",
        case=case,
        file=path,
        found=last[:200],
        remedy="copy it again; it may be cut off",
    )
