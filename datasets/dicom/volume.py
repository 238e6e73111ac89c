"""Build a volume from the slices of a series: placed by geometry, each with its own rescaling."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import Dataset, dcmread

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.notes import Note

from ..io.slice_gaps import WIDE, verdict
from .enhanced import quiet
from .pixels import bad, images_of

THREADS = 4
JITTER = 0.1
"""Largest deviation of a slice from its regular place, as a share of the spacing."""
TILT_MM = 1.0
"""Largest sideways drift of the slices over the whole series."""


class Slices(NamedTuple):
    """A volume `[D, H, W]` float32, its grid, the header of each slice, and what was odd."""

    array: np.ndarray
    grid: Grid
    headers: list[Dataset]
    notes: list[Note]


def read_slices(files: Sequence[Path], case: str | None = None, fill: float = 0.0) -> Slices:
    """Read the slices of one series.

    Files are read by several threads; at most the volume and a few files are in memory.

    Args:
        files: One slice each, in any order, or enhanced files with many frames; a file that stands
            more than once counts once.
        case: For messages.
        fill: Physical value of padding voxels: air for CT. If it is negative, lower values are
            padding, too.

    Raises:
        DataError: If slices are missing, contradict each other or lie askew, or pixels cannot be
            read.
    """
    with quiet(), ThreadPoolExecutor(THREADS, "slices") as pool:
        loaded = list(pool.map(lambda file: _load(file, fill, case), dict.fromkeys(files)))
    headers = [header for file in loaded for header, _ in file]
    images = [image for file in loaded for _, image in file]
    del loaded
    _check_alike(headers, case)
    turn, down, across = _directions(headers[0], case)
    normal = np.cross(turn[:3], turn[3:])
    origins = np.array([_position(header, case) for header in headers])
    order = np.argsort(origins @ normal, kind="stable")
    headers, origins = [headers[i] for i in order], origins[order]
    images = [images[i] for i in order]
    notes: list[Note] = []
    keep = _without_duplicates(headers, images, origins @ normal, notes, case)
    headers, origins = [headers[i] for i in keep], origins[keep]
    images = [_sound(images[i]) for i in keep]
    spacing = _spacing(headers, origins @ normal, notes, case)
    _check_tilt(headers, origins, normal, case)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * spacing, down, across
    # Jitter is shared out: the middle of the series stays where it is.
    middle = (len(images) - 1) / 2
    affine[:3, 3] = origins.mean(0) - normal * spacing * middle
    affine[:2] *= -1  # DICOM's world is left and posterior, ours right and anterior
    array = _stack(images)
    if fill < 0 and float(array.min()) < fill:
        text = f"values below {fill:g} HU, down to {array.min():g}, became {fill:g}"
        notes.append(Note("info", "padding below the HU of air", text))
        np.maximum(array, np.float32(fill), out=array)
    d, h, w = (int(n) for n in array.shape)
    return Slices(array, Grid((d, h, w), affine), headers, notes)


def _load(
    file: Path, fill: float, case: str | None
) -> list[tuple[Dataset, np.ndarray | DataError]]:
    """Return header and image of each frame; pixels that cannot be read are an error in place.

    It is raised later, unless a sound copy of the slice is there.
    """
    header = _open(file, case)
    try:
        return [*images_of(header, fill, case)]
    except DataError as error:
        return [(header, error)]


def _sound(image: np.ndarray | DataError) -> np.ndarray:
    if isinstance(image, DataError):
        raise image
    return image


def _stack(images: list[np.ndarray]) -> np.ndarray:
    """Return `[D, H, W]`; each image is given up once it is copied, so memory is used once."""
    array = np.empty((len(images), *images[0].shape), np.float32)
    for index in range(len(images)):
        array[index] = images[index]
        images[index] = array[index]
    return array


def _open(file: Path, case: str | None) -> Dataset:
    try:
        return dcmread(file, force=True)
    except Exception as error:  # pydicom raises what its parsers raise
        raise DataError(
            "the slice must be readable DICOM",
            case=case,
            file=file,
            found=" ".join(str(error).split())[:200],
            remedy="copy or export the series again",
        ) from error


def _check_alike(headers: Sequence[Dataset], case: str | None) -> None:
    """Raise an error if the slices are not of one patient and one shape."""
    for tag in ("PatientID", "FrameOfReferenceUID", "Rows", "Columns", "Units"):
        values = sorted({str(header.get(tag, "")) for header in headers})
        if len(values) > 1:
            raise bad(
                f"the slices of a series must have one {tag}", headers[0], case,
                ", ".join(values[:3]), "separate the series",
            )  # fmt: skip


def _directions(header: Dataset, case: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the orientation, and the steps of a row and of a column in mm."""
    turn = _numbers(header, "ImageOrientationPatient", 6, case)
    spacing = _numbers(header, "PixelSpacing", 2, case)
    if (spacing <= 0).any():
        raise bad("PixelSpacing must be positive", header, case, spacing.tolist())
    rows, columns = turn[:3], turn[3:]
    length = np.array([np.linalg.norm(rows), np.linalg.norm(columns)])
    if (np.abs(length - 1) > 0.01).any() or abs(float(rows @ columns)) > 0.01:
        raise bad(
            "ImageOrientationPatient must be two unit vectors at right angles", header, case,
            np.round(turn, 3).tolist(),
        )  # fmt: skip
    return turn, columns * spacing[0], rows * spacing[1]


def _position(header: Dataset, case: str | None) -> np.ndarray:
    return _numbers(header, "ImagePositionPatient", 3, case)


def _numbers(header: Dataset, tag: str, count: int, case: str | None) -> np.ndarray:
    value = header.get(tag)
    try:
        numbers = np.array([float(part) for part in value])  # pyright: ignore[reportOptionalIterable]
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        found = "missing" if value in (None, "") else str(value)
        raise bad(f"{tag} must be {count} numbers", header, case, found, "export the series again")
    return numbers


def _without_duplicates(
    headers: Sequence[Dataset],
    images: Sequence[np.ndarray | DataError],
    places: np.ndarray,
    notes: list[Note],
    case: str | None,
) -> list[int]:
    """Return which slices to keep; of those at one place, all that can be read must be equal."""
    keep, broken = [0], 0
    for index in range(1, len(places)):
        one, other = images[index], images[keep[-1]]
        if places[index] - places[keep[-1]] > 0.01:
            keep.append(index)
        elif isinstance(one, DataError):
            broken += 1
        elif isinstance(other, DataError):
            broken, keep[-1] = broken + 1, index
        elif not np.array_equal(one, other):
            raise bad(
                "two slices must not lie at the same place", headers[index], case,
                f"at {places[index]:.2f} mm along the normal, with other voxels",
                "the folder mixes acquisitions: separate them",
            )  # fmt: skip
    dropped = len(places) - len(keep) - broken
    if dropped:
        text = f"{dropped} slices were there twice, and were dropped"
        notes.append(Note("info", "slices that were there twice", text))
    if broken:
        text = f"{broken} damaged copies of slices were passed over"
        notes.append(Note("warning", "damaged copies of slices", text))
    return keep


def _spacing(
    headers: Sequence[Dataset], places: np.ndarray, notes: list[Note], case: str | None
) -> float:
    """Return the distance of the slices, which must be regular."""
    if len(places) < 2:
        raise bad("a volume must have two slices or more", headers[0], case, len(places))
    gaps = np.diff(places)
    spacing = float(places[-1] - places[0]) / (len(places) - 1)
    regular = places.mean() + spacing * (np.arange(len(places)) - (len(places) - 1) / 2)
    off = float(np.abs(places - regular).max())
    if (gaps > WIDE * np.median(gaps)).any() or off > JITTER * spacing + 0.02:
        rule, found, remedy = verdict(gaps, places, _instance_numbers(headers))
        raise bad(rule, headers[int(np.argmax(gaps))], case, found, remedy)
    if off > 0.01:
        text = f"slices lie up to {off:.2f} mm off their regular places"
        notes.append(Note("info" if off < 0.1 else "warning", "slices off their places", text))
    return spacing


def _instance_numbers(headers: Sequence[Dataset]) -> list[int]:
    """Return the scanner's numbers of slices, if all have one."""
    try:
        return [int(header.InstanceNumber) for header in headers]
    except (AttributeError, TypeError, ValueError):
        return []


def _check_tilt(
    headers: Sequence[Dataset], origins: np.ndarray, normal: np.ndarray, case: str | None
) -> None:
    """Raise an error if the slices drift sideways, as with a tilted gantry."""
    sideways = origins - np.outer(origins @ normal, normal)
    drift = float(np.linalg.norm(sideways - sideways[0], axis=1).max())
    if drift > TILT_MM:
        length = float((origins[-1] - origins[0]) @ normal)
        angle = np.degrees(np.arctan2(drift, abs(length)))
        raise bad(
            "slices must lie straight behind each other", headers[0], case,
            f"a drift of {drift:.1f} mm, {angle:.1f} degrees (gantry tilt?)",
            "resample the series to a straight grid",
        )  # fmt: skip
