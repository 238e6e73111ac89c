"""Read and write NIfTI; the one place that knows NIfTI's axis order.

NIfTI indexes arrays `(i, j, k)` with an affine to RAS mm. hilum indexes `[depth, height, width]`,
which is `(k, j, i)`: reading transposes the array and permutes the columns of the affine, nothing
is resampled.
"""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import NamedTuple, cast

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.geometry import Grid

from .mask_values import Values, whole_numbers, with_values
from .nifti_header import (
    plausible_spacing,
    raw_header,
    require_sound,
    unheard,
)
from .scratch import LARGE, empty

ENDINGS = (".nii.gz", ".nii")
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}
_STORED = {"bool": np.uint8, "float16": np.float32, "int64": np.int32, "uint64": np.int32}
# What nibabel raises for files that are no NIfTI, cut off, or filled with nonsense.
_BROKEN = (
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
)


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
    # NaN and infinity show in the extremes: a sound scan is not counted voxel by voxel.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise DataError(
            "voxels must be finite numbers",
            case=case,
            file=path,
            found=f"{array.size - np.isfinite(array).sum()} NaN or infinite voxels",
            remedy="mend the file, or write the background as a number",
        )
    return Volume(array.astype(np.float32, copy=False), grid)


def read_label(path: str | Path, case: str | None = None, values: Values | None = None) -> Volume:
    """Read a mask as uint8, or int16 if a value exceeds 255.

    Args:
        path: NIfTI.
        case: For messages.
        values: What values of the file mean, as in `{255: 1}`.

    Raises:
        DataError: If a value is no whole number from 0 to 32767, and as `read_volume`.
    """
    image = _open(path, case)
    grid = _grid(image, path, case)
    array = with_values(_voxels(image, path, case), values or {})
    return Volume(whole_numbers(array, path, case), grid)


def read_grid(path: str | Path, case: str | None = None) -> Grid:
    """Read the geometry only, from the header."""
    return _grid(_open(path, case), path, case)


def write_volume(
    path: str | Path, array: np.ndarray, grid: Grid, dtype: type[np.generic] | None = None
) -> Path:
    """Write `[D, H, W]` as `.nii.gz` or `.nii`, whole or not at all, with sform and qform set.

    The same input gives the same bytes. Booleans become uint8, half floats float32 and 64-bit
    integers int32, since NIfTI or its readers lack them.
    """
    path = Path(path)
    if not path.name.endswith(ENDINGS):
        raise DataError(
            "a NIfTI file must end in .nii.gz or .nii", file=path, remedy="call it <name>.nii.gz"
        )
    if array.shape != grid.shape:
        raise DataError(
            "an array must have the shape of its grid",
            file=path,
            found=f"{array.shape}, {grid.shape}",
            remedy="give the grid of this very array",
        )
    stored = np.asarray(array, dtype or array.dtype)
    stored = stored.astype(_STORED.get(stored.dtype.name, stored.dtype), copy=False)
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
        raise DataError("no such file", case=case, file=path, remedy="mend the manifest")
    if path.is_dir() or not path.name.lower().endswith(ENDINGS):
        raise DataError(
            "a volume must be a .nii.gz or .nii file",
            case=case,
            file=path,
            remedy="convert it, or import it: `hilum import`",
        )
    try:
        with unheard():
            image = nibabel.load(path)
            raw = raw_header(image) if isinstance(image, Nifti1Image) else None
    except _BROKEN as error:
        raise _unreadable(path, case, error) from error
    if not isinstance(image, Nifti1Image) or raw is None:
        raise DataError(
            "a volume must be NIfTI",
            case=case,
            file=path,
            found=type(image).__name__,
            remedy="save it as NIfTI-1",
        )
    require_sound(raw, path, case)
    return image


def _voxels(
    image: Nifti1Image,
    path: str | Path,
    case: str | None,
    at_least: type[np.floating] | None = None,
) -> np.ndarray:
    """Return `[D, H, W]`: the stored integers if the header does not scale them, else floats."""
    try:
        kind = np.dtype(image.get_data_dtype())
        if kind.kind not in "iuf":
            raise TypeError(f"voxels of type {kind}, not numbers")
        if at_least and prod(image.shape) * 4 > LARGE:
            return _streamed(image, Path(path))
        if str(path).lower().endswith(".gz"):
            # In one go, since reading voxel by voxel never gets to the checksum at the end.
            data = gzip.decompress(Path(path).read_bytes())
            with unheard():
                image = type(image).from_bytes(data)
        # Damaged headers ask for absurd scalings; what comes of them is checked by the callers.
        with np.errstate(all="ignore"):
            # float32 from the start: nibabel would scale a large scan in float64.
            array = np.asarray(image.dataobj, dtype=at_least)
    except _BROKEN as error:
        raise _unreadable(path, case, error) from error
    return np.ascontiguousarray(array.reshape(array.shape[:3]).transpose(2, 1, 0))


def _streamed(image: Nifti1Image, path: Path) -> np.ndarray:
    """Return float32 `[D, H, W]` in a temporary file, read a few slices at a time."""
    width, height, depth = image.shape[:3]
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as file:
        # Room is taken only if the file may hold so much: a damaged header can ask for anything.
        if path.stat().st_size * (1100 if packed else 1) < prod(image.shape):
            raise OSError(f"Expected {prod(image.shape)} voxels in {path.stat().st_size} bytes")
        # The header of an open image has lost where its voxels begin.
        there = cast(ArrayProxy, image.dataobj)
        spec = (image.shape, there.dtype, there.offset, there.slope, there.inter)
        proxy = ArrayProxy(file, spec)
        array = empty((depth, height, width), np.float32)
        step = max(2**24 // (width * height), 1)
        for first in range(0, depth, step):
            with np.errstate(all="ignore"):
                part = np.asarray(proxy[:, :, first : first + step], dtype=np.float32)
            array[first : first + step] = part.reshape(part.shape[:3]).transpose(2, 1, 0)
        while file.read(2**20):
            pass  # The checksum is at the end.
    return array


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
    if len(shape) > 3 and all(side == 1 for side in shape[3:]):
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(
            "a volume must have three dimensions",
            case=case,
            file=path,
            found=" x ".join(map(str, image.shape)),
            remedy="split the series or phases into files",
        )
    code = int(image.header["xyzt_units"]) % 8
    unit = _UNITS.get(code, f"unit code {code}")
    if unit not in _MM_PER_UNIT:
        raise DataError(
            "lengths must be in mm",
            case=case,
            file=path,
            found=unit,
            remedy="save it with mm as its unit of space",
        )
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
    if not plausible_spacing(spacing):
        raise DataError(
            "spacing must be from 0.001 to 100 mm",
            case=case,
            file=path,
            found=" x ".join(f"{s:.4g}" for s in spacing) + " mm",
            remedy="the header may name a wrong unit of length (xyzt_units): write it in mm",
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
