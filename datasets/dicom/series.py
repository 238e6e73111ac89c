"""Group headers into series that are one volume each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .headers import Header

CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",
}
ENHANCED = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
"""Classes with many frames in a file, legacy converted ones among them."""
_REPEATS = (
    "TemporalPositionIdentifier", "AcquisitionNumber", "DiffusionBValue", "EchoTime", "ImageType",
    "FrameReferenceTime", "TriggerTime", "AcquisitionTime",
)  # fmt: skip
"""What may tell apart the volumes of one series, the clearest first."""


@dataclass(frozen=True)
class Series:
    """Slices of one geometry and one acquisition; or the files of a label object.

    Attributes:
        headers: One per slice; frames of one file share its path.
        part: Which part of a series that holds several, or empty.
    """

    headers: tuple[Header, ...]
    part: str = ""

    @property
    def first(self) -> Header:
        """A header to take what all share from."""
        return self.headers[0]

    @property
    def kind(self) -> str:
        """`CT`, `PT`, `MR`, `RTSTRUCT`, `SEG`, or what else the file says it is."""
        sop = self.first["SOPClassUID"]
        return CLASSES.get(sop) or ENHANCED.get(sop) or f"other ({self.first['Modality'] or sop})"

    @property
    def enhanced(self) -> bool:
        """Whether a file may hold many frames, each a slice of its own."""
        return self.first["SOPClassUID"] in ENHANCED

    @property
    def axial(self) -> bool:
        """Whether the slices lie across the patient's length, by less than 45 degrees off."""
        turn = self.first.numbers("ImageOrientationPatient", 6)
        return turn is not None and abs(float(np.cross(turn[:3], turn[3:])[2])) > 0.7

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.first["SeriesInstanceUID"]

    @property
    def name(self) -> str:
        """What to call the series in a report."""
        number, text = self.first["SeriesNumber"], self.first["SeriesDescription"]
        return f"series {number or '?'} {text!r}{f', {self.part}' if self.part else ''}"

    @cached_property
    def places(self) -> np.ndarray:
        """Position of each slice along the normal in mm, unsorted; empty if there is none."""
        turn = self.first.numbers("ImageOrientationPatient", 6)
        origins = [header.numbers("ImagePositionPatient", 3) for header in self.headers]
        if turn is None or any(origin is None for origin in origins):
            return np.zeros(0)
        return np.array(origins, float) @ np.cross(turn[:3], turn[3:])

    @property
    def extent_mm(self) -> float:
        """Length covered along the normal."""
        return float(np.ptp(self.places)) if self.places.size else 0.0

    @property
    def gap_mm(self) -> float:
        """Median distance of neighbouring slices; infinite for fewer than two."""
        gaps = np.diff(np.unique(np.round(self.places, 3)))
        return float(np.median(gaps)) if gaps.size else float("inf")

    def box(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the corners of the volume along the patient's axes (LPS mm), or nothing."""
        turn = self.first.numbers("ImageOrientationPatient", 6)
        spacing = self.first.numbers("PixelSpacing", 2)
        origins = [header.numbers("ImagePositionPatient", 3) for header in self.headers]
        if turn is None or spacing is None or any(origin is None for origin in origins):
            return None
        rows, columns = float(self.first["Rows"] or 0), float(self.first["Columns"] or 0)
        across = np.array(turn[:3]) * spacing[1] * columns
        down = np.array(turn[3:]) * spacing[0] * rows
        start = np.array(origins, float)
        corners = np.concatenate([start, start + across, start + down, start + across + down])
        return corners.min(0), corners.max(0)


def group(headers: Iterable[Header]) -> list[Series]:
    """Group headers by patient, study and series; a series of several volumes is split.

    Split by shape and direction of the slices first, then by acquisition or time where slices lie
    at the same place more than once.
    """
    by_uid: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for header in headers:
        key = tuple(header[t] for t in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"))
        by_uid[(*key, header["SOPClassUID"])].append(header)
    found: list[Series] = []
    for members in by_uid.values():
        parts = _by_shape(members)
        for number, part in enumerate(parts, 1):
            name = f"part {number} of {len(parts)}" if len(parts) > 1 else ""
            found += _by_time(Series(tuple(part), name))
    return found


def overlap(one: Series, other: Series) -> float:
    """Return the fraction of the smaller box inside the larger one, 0 if a place is unknown."""
    a, b = one.box(), other.box()
    if a is None or b is None:
        return 0.0
    common = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None)
    least = min(float(np.prod(a[1] - a[0])), float(np.prod(b[1] - b[0])))
    return float(np.prod(common)) / least if least > 0 else 0.0


def _by_shape(headers: Iterable[Header]) -> list[list[Header]]:
    """Part headers by the sides, direction and pixel spacing of their slices."""
    parts: list[tuple[tuple, np.ndarray, list[Header]]] = []
    for header in headers:
        sides = (header["Rows"], header["Columns"], "LOCALIZER" in header.words("ImageType"))
        turn = header.numbers("ImageOrientationPatient", 6) or (9.0,) * 6
        spacing = header.numbers("PixelSpacing", 2) or (0.0, 0.0)
        # Compared, since rounding would part neighbours: half a degree, a thousandth of a pixel.
        shape = np.array([*turn, *(10 * np.log(np.maximum(spacing, 1e-9)))])
        for known, first, part in parts:
            if known == sides and np.abs(shape - first).max() < 0.01:
                part.append(header)
                break
        else:
            parts.append((sides, shape, [header]))
    return [part for _, _, part in parts]


def _by_time(series: Series) -> list[Series]:
    """Split a series whose slices lie at the same places again and again."""
    if series.kind not in ("CT", "PT", "MR") or not series.places.size or _single(series):
        return [series]
    for tag in _REPEATS:
        parts: dict[str, list[Header]] = defaultdict(list)
        for header in series.headers:
            parts[header[tag]].append(header)
        split = [
            Series(tuple(part), ", ".join(filter(None, (series.part, f"{tag} {value or '?'}"))))
            for value, part in parts.items()
        ]
        if len(split) > 1 and all(_single(part) for part in split):
            return split
    return [series]


def _single(series: Series) -> bool:
    """Say whether no two slices lie at one place; copies of a file count as one."""
    own = {
        (h["SOPInstanceUID"], h["Frame"], *(h[tag] for tag in _REPEATS)): round(float(place), 2)
        for h, place in zip(series.headers, series.places, strict=True)
    }
    return len(set(own.values())) == len(own)
