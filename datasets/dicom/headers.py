"""Find every DICOM file below a folder, and keep the little of each header that sorting needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.core.errors import DataError, UserError

from .enhanced import FRAME_TAGS, frame_count, frame_header, quiet

if TYPE_CHECKING:
    from pydicom import Dataset

TAGS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "StudyDate",
    "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "SeriesType", "ImageType",
    "FrameOfReferenceUID", "AcquisitionNumber", "TemporalPositionIdentifier", "Rows", "Columns",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
    "ConvolutionKernel", "CorrectedImage", "Units", "Manufacturer", "ManufacturerModelName",
    "SequenceName", "ProtocolName", "ScanningSequence", "NumberOfFrames", "InstanceNumber",
    "DiffusionBValue", "ContrastBolusAgent", "AttenuationCorrected", "DecayCorrected",
    "EchoTime", "FrameReferenceTime", "TriggerTime", "AcquisitionTime",
)  # fmt: skip
_BINARY = ("Rows", "Columns", "DiffusionBValue")
DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Header:
    """One file, or one frame of an enhanced file.

    Attributes:
        file: Where.
        tags: Text of each tag that the file has; several values are joined by a backslash. `Frame`
            is the number of a frame, from 0 on.
    """

    file: Path
    tags: dict[str, str]

    def numbers(self, tag: str, count: int) -> tuple[float, ...] | None:
        """Return a tag of `count` finite numbers, or nothing if it is missing or malformed."""
        try:
            values = tuple(float(part) for part in self.tags.get(tag, "").split("\\"))
        except ValueError:
            return None
        return values if len(values) == count and np.isfinite(values).all() else None

    def words(self, tag: str) -> list[str]:
        """Return the values of a tag in capitals."""
        return [part.strip().upper() for part in self.tags.get(tag, "").split("\\") if part.strip()]

    def __getitem__(self, tag: str) -> str:
        return self.tags.get(tag, "")


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        headers: Every DICOM file that belongs to a series.
        other: How many files are no DICOM.
        unreadable: Files and folders that could not be read, with the reason.
    """

    headers: list[Header] = field(default_factory=list)
    other: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


def crawl(
    root: Path, *, threads: int = 8, progress: Callable[[int, int, str], None] | None = None
) -> Found:
    """Read the header of every file below a folder, whatever its name; pixels are left alone.

    Links are followed, each folder once. Damaged files are noted, and the others go on.

    Raises:
        DataError: If the folder does not exist.
        UserError: If pydicom is not installed.
    """
    if not root.is_dir():
        raise DataError("no such folder", file=root, remedy="check the path")
    require_pydicom()
    found = Found()
    files = sorted(_files(root, found), key=os.fsencode)
    with quiet(), ThreadPoolExecutor(threads, "headers") as pool:
        for done, (file, header) in enumerate(zip(files, pool.map(_read, files), strict=True), 1):
            if isinstance(header, list):
                found.headers.extend(header)
            elif header:
                found.unreadable[shown(file)] = header
            else:
                found.other += 1
            if progress and (done % 500 == 0 or done == len(files)):
                progress(done, len(files), "headers")
    return found


def require_pydicom() -> None:
    """Raise an error that names the extra if pydicom is missing."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise UserError(
            "DICOM needs pydicom, which is not installed", remedy="pip install 'hilum[dicom]'"
        ) from None


def shown(path: str | Path) -> str:
    """Return a path as text that any file can hold, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files(root: Path, found: Found) -> Iterator[Path]:
    """Yield the regular files below a folder; a folder that a link leads back to comes once."""
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        found.unreadable[shown(error.filename or root)] = error.strerror or "unreadable"

    for folder, inner, names in os.walk(root, onerror=note, followlinks=True):
        stat = os.stat(folder)  # noqa: PTH116
        if (stat.st_dev, stat.st_ino) in seen:
            inner.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for name in names:
            path = Path(folder, name)
            try:
                regular = path.is_file()
            except OSError as error:
                note(error)
                continue
            if regular and not name.startswith("."):
                yield path


def _read(file: Path) -> list[Header] | str | None:
    """Return the headers, why a DICOM file cannot be read, or nothing for other files."""
    from pydicom.errors import InvalidDicomError

    try:
        return _headers(file)
    except InvalidDicomError:
        return None
    except Exception as error:  # pydicom raises what its parsers raise, some only when asked
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _headers(file: Path) -> list[Header] | str | None:
    from pydicom import dcmread

    with file.open("rb") as stream:
        start = stream.read(132)
    magic = start[128:132] == b"DICM"
    # Files of before 1996 begin with their first group at once.
    if not magic and start[:2] not in (b"\x08\x00", b"\x02\x00"):
        return None
    dataset = dcmread(
        file, stop_before_pixels=True, force=not magic, specific_tags=[*TAGS, *FRAME_TAGS]
    )
    if dataset.get("SeriesInstanceUID") is None:
        directory = str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY
        return None if directory or not magic else "no SeriesInstanceUID; the file may be cut off"
    count = frame_count(dataset) if dataset.get("Modality") != "SEG" else 0
    if count:
        frames = (frame_header(dataset, number) for number in range(count))
        return [Header(file, _tags(one) | {"Frame": str(n)}) for n, one in enumerate(frames)]
    return [Header(file, _tags(dataset))]


def _tags(dataset: Dataset) -> dict[str, str]:
    """Return the text of each of `TAGS` that is there.

    Plain text is taken as it lies in the file, which halves the time of a crawl; numbers in binary
    and texts in other alphabets go through the library.
    """
    from pydicom.datadict import tag_for_keyword

    tags = {}
    for keyword in TAGS:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in dataset:
            continue
        stored = dataset.get_item(tag).value
        if isinstance(stored, bytes) and keyword not in _BINARY and stored.isascii():
            text = stored.decode("ascii").strip(" \0")
        else:
            text = _value(dataset, keyword)
        if text:
            # Thousands of slices share most of their texts.
            tags[keyword] = sys.intern(text)
    return tags


def _value(dataset: Dataset, keyword: str) -> str:
    """Return the text of a tag, empty if it is malformed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom raises what its parsers raise
        return ""
    if value is None:
        return ""
    many = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    return "\\".join(map(str, value)) if many else str(value)
