"""Judge the header of a NIfTI file as it is stored, before a library mends it.

nibabel turns a spacing of 0 into 1, drops the sign of a negative one and the code of a position
that it does not know, and says so only in a log. The rules here follow nifti1.h: pixdim 1 to 3 are
positive, qfac is -1 or 1 and 0 counts as 1, a slope of 0 means no scaling, and the sform comes
before the qform, as nibabel has it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import nibabel
import numpy as np
from nibabel.imageglobals import logger
from nibabel.nifti1 import Nifti1Header, Nifti1Image

from hilum.core.errors import DataError
from hilum.core.notes import Note

_CODES = range(6)
"""Codes of sform and qform that nifti1.h and NIfTI-2 define."""
_APART_MM = 0.5
"""Two positions in one header that differ by more are a contradiction."""
_SPACING = (1e-3, 100.0)
"""Spacing in mm that a scan of a patient can have."""
_reading: ContextVar[bool] = ContextVar("reading", default=False)


def _keep(_: logging.LogRecord) -> bool:
    """Drop what nibabel logs of a header that is judged here."""
    return not _reading.get()


logger.addFilter(_keep)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep nibabel's log of headers off stderr, for what this thread reads."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def raw_header(image: Nifti1Image) -> Nifti1Header:
    """Return the header as it is stored."""
    with unheard(), image.file_map["image"].get_prepare_fileobj("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)


def require_sound(header: Nifti1Header, path: str | Path, case: str | None) -> None:
    """Raise an error if a header leaves the spacing, position or values of a scan open.

    Raises:
        DataError: With the value that is stored, not the one that a library would take instead.
    """
    raw = header.structarr
    pixdim = [float(value) for value in raw["pixdim"][:4]]
    sform, qform = int(raw["sform_code"]), int(raw["qform_code"])
    for name, code in (("sform_code", sform), ("qform_code", qform)):
        if code not in _CODES:
            _refuse(f"{name} must be from 0 to 5", code, path, case)
    if sform == 0:
        for number, value in enumerate(pixdim[1:], 1):
            if not (np.isfinite(value) and value > 0):
                found = f"pixdim[{number}] {value:g}, and no sform"
                _refuse("spacing must be positive", found, path, case)
        if qform and pixdim[0] not in (-1, 0, 1):
            _refuse("qfac (pixdim[0]) must be -1 or 1", pixdim[0], path, case)
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if np.isinf(slope) or (slope and np.isfinite(slope) and not np.isfinite(intercept)):
        found = f"scl_slope {slope:g}, scl_inter {intercept:g}"
        _refuse("the scaling of voxels must be finite", found, path, case)


def notes_on_header(path: str | Path, case: str = "") -> list[Note]:
    """Return what a user should know of the header of a file that can be read."""
    with unheard():
        image = nibabel.load(Path(path))
    if not isinstance(image, Nifti1Image):
        return []
    header = raw_header(image)
    raw = header.structarr
    found: list[tuple[str, str]] = []
    position = position_in_doubt(header)
    spacing = _against_sform(header) if int(raw["sform_code"]) else []
    # A qform is made of pixdim: one cause, one note.
    found += spacing or ([("positions in doubt", position)] if position else [])
    if not int(raw["sform_code"]) and int(raw["qform_code"]) and float(raw["pixdim"][0]) == 0:
        found.append(("headers read by a rule", "qfac (pixdim[0]) is 0, which counts as 1"))
    unit = {1: "m", 3: "micron"}.get(int(raw["xyzt_units"]) % 8)
    if unit:
        found.append(("lengths converted to mm", f"lengths are in {unit} and were converted to mm"))
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if (slope == 0 or np.isnan(slope)) and np.isfinite(intercept) and intercept:
        text = f"scl_slope is {slope:g}, so scl_inter {intercept:g} does not count"
        found.append(("scaling that does not count", text))
    shape = [int(n) for n in raw["dim"][1 : 1 + max(int(raw["dim"][0]), 0)]]
    if len(shape) > 3:
        text = f"{' x '.join(map(str, shape))}, read as {' x '.join(map(str, shape[:3]))}"
        found.append(("trailing dimensions of 1", text))
    name = Path(path).name
    quiet = ("headers read by a rule", "trailing dimensions of 1")
    return [
        Note("info" if kind in quiet else "warning", kind, f"{name}: {text}", case)
        for kind, text in found
    ]


def plausible_spacing(spacing: np.ndarray) -> bool:
    """Say whether a scan of a patient can have a spacing, in mm."""
    return bool((spacing > _SPACING[0]).all() and (spacing < _SPACING[1]).all())


def position_in_doubt(header: Nifti1Header) -> str:
    """Return why the header leaves the position in the patient open, or nothing.

    A file may hold two positions (sform and qform), and tools differ in which they believe; hilum
    takes the sform. Where they differ, other programs show the scan elsewhere, even mirrored.
    """
    with unheard():
        mended = type(header)(header.binaryblock, endianness=header.endianness)
    sform = mended.get_sform(coded=True)[0]
    try:
        qform = mended.get_qform(coded=True)[0]
    except ValueError:
        return "a damaged qform"
    if sform is None and qform is None:
        return "neither sform nor qform"
    if sform is None or qform is None:
        return ""
    ends = np.array([0, 0, 0, 1]), np.array([*(n - 1 for n in header.get_data_shape()[:3]), 1])
    apart = max(float(np.abs((sform - qform) @ end).max()) for end in ends)
    if not np.isfinite(apart):
        return "a damaged qform"
    return f"sform and qform {apart:.1f} mm apart" if apart > _APART_MM else ""


def _against_sform(header: Nifti1Header) -> list[tuple[str, str]]:
    """Return where pixdim says another spacing than the sform, which counts."""
    spacing = np.linalg.norm(np.asarray(header.get_sform())[:3, :3], axis=0)
    pixdim = np.asarray(header.structarr["pixdim"][1:4], float)
    off = ~(np.abs(pixdim - spacing) <= 0.01 * spacing)
    if not off.any():
        return []
    texts = [
        f"pixdim[{k + 1}] is {pixdim[k]:.4g}, but {spacing[k]:.4g} mm by the sform, which counts"
        for k in np.flatnonzero(off)
    ]
    return [("spacing in doubt", "; ".join(texts))]


def _refuse(rule: str, found: object, path: str | Path, case: str | None) -> None:
    raise DataError(
        rule,
        case=case,
        file=path,
        found=found,
        remedy="export the scan again with its geometry",
    )
