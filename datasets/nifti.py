"""Read and write NIfTI; the one place that knows NIfTI's axis order.

NIfTI indexes arrays `(i, j, k)` with an affine to RAS mm. hilum indexes `[depth, height, width]`,
which is `(k, j, i)`: reading transposes the array and permutes the columns of the affine, nothing
is resampled.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image

from ..core.errors import DataError
from ..core.files import atomic_path
from ..core.geometry import Grid

ENDINGS = (".nii.gz", ".nii")
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


class Volume(NamedTuple):
    """An array `[D, H, W]` and where it lies in the patient."""

    array: np.ndarray
    grid: Grid


def read_volume(path: str | Path, case: str | None = None) -> Volume:
    """Read an image as float32 with the header's scaling applied.

    Raises:
        DataError: If the file is missing, unreadable, not three-dimensional, has no usable
            geometry, or holds NaN or infinity.
    """
    image = _open(path, case)
    grid = _grid(image, path, case)
    array = _voxels(image, path, case, np.float32)
    bad = int(np.size(array) - np.isfinite(array).sum())
    if bad:
        raise DataError(
            "voxels must be finite numbers",
            case=case,
            file=path,
            found=f"{bad} NaN or infinite voxels",
            remedy="mend the file, or write the background as a number",
        )
    return Volume(array, grid)


def read_label(path: str | Path, case: str | None = None) -> Volume:
    """Read a mask as int16; values that are no whole numbers from 0 to 32767 are an error."""
    image = _open(path, case)
    grid = _grid(image, path, case)
    array = _voxels(image, path, case, np.float64)
    whole = np.isfinite(array) & (array == np.round(array)) & (array >= 0) & (array < 32768)
    if not whole.all():
        example = array[~whole].flat[0]
        raise DataError(
            "a label must hold whole numbers from 0 on",
            case=case,
            file=path,
            found=f"{example:g}",
            remedy="export the mask as integers, background 0",
        )
    return Volume(array.astype(np.int16), grid)


def read_grid(path: str | Path, case: str | None = None) -> Grid:
    """Read the geometry only, from the header."""
    return _grid(_open(path, case), path, case)


def write_volume(
    path: str | Path, array: np.ndarray, grid: Grid, dtype: type[np.generic] | None = None
) -> Path:
    """Write `[D, H, W]` as `.nii.gz` or `.nii`, whole or not at all, with sform and qform set."""
    path = Path(path)
    if not path.name.endswith(ENDINGS):
        raise DataError("a NIfTI file must end in .nii.gz or .nii", file=path)
    stored = np.asarray(array, dtype or array.dtype)
    if stored.dtype == bool:
        stored = stored.astype(np.uint8)
    affine = grid.affine[:, [2, 1, 0, 3]]
    image = Nifti1Image(stored.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with atomic_path(path) as part:
        nibabel.save(image, part)
    return path


def _open(path: str | Path, case: str | None) -> Nifti1Image:
    path = Path(path)
    if not path.exists():
        raise DataError("the file must exist", case=case, file=path, remedy="mend the manifest")
    if path.is_dir() or not path.name.lower().endswith(ENDINGS):
        raise DataError("a volume must be a .nii.gz or .nii file", case=case, file=path)
    try:
        image = nibabel.load(path)
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise _unreadable(path, case, error) from error
    if not isinstance(image, Nifti1Image):
        raise DataError("a volume must be NIfTI", case=case, file=path, found=type(image).__name__)
    return image


def _voxels(
    image: Nifti1Image, path: str | Path, case: str | None, dtype: type[np.floating]
) -> np.ndarray:
    try:
        array = np.asarray(image.get_fdata(dtype=dtype, caching="unchanged"))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _unreadable(path, case, error) from error
    return np.ascontiguousarray(array.reshape(array.shape[:3]).transpose(2, 1, 0))


def _unreadable(path: str | Path, case: str | None, error: Exception) -> DataError:
    return DataError(
        "the file must be readable NIfTI",
        case=case,
        file=path,
        found=" ".join(str(error).split()) or type(error).__name__,
        remedy="export or copy it again; it may be cut off",
    )


def _grid(image: Nifti1Image, path: str | Path, case: str | None) -> Grid:
    shape = image.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(
            "a volume must have three dimensions",
            case=case,
            file=path,
            found=" x ".join(map(str, image.shape)),
            remedy="split the series or phases into files",
        )
    unit = str(image.header.get_xyzt_units()[0])
    if unit not in _MM_PER_UNIT:
        raise DataError("lengths must be in mm", case=case, file=path, found=unit)
    affine = np.array(image.affine, float)
    affine[:3] *= _MM_PER_UNIT[unit]
    _check_affine(affine, path, case)
    return Grid((shape[2], shape[1], shape[0]), affine[:, [2, 1, 0, 3]])


def _check_affine(affine: np.ndarray, path: str | Path, case: str | None) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or (spacing <= 1e-6).any():
        raise DataError(
            "spacing must be positive",
            case=case,
            file=path,
            found=tuple(float(f"{s:.4g}") for s in spacing),
            remedy="export the scan again with its geometry",
        )
    cosines = affine[:3, :3] / spacing
    shear = np.abs(cosines.T @ cosines - np.eye(3)).max()
    if shear > 0.02:
        raise DataError(
            "the axes of a volume must be at right angles",
            case=case,
            file=path,
            found=f"a shear of {np.degrees(np.arcsin(min(shear, 1))):.1f} degrees (gantry tilt?)",
            remedy="resample the scan to a straight grid",
        )
