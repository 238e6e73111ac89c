"""Turn the stored pixels of a DICOM image into physical values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.core.errors import DataError

from .enhanced import frame_count, frame_header

if TYPE_CHECKING:
    from pydicom import Dataset

_LOSSY_AIR = -500.0
"""Padding of a CT is air; a tag that names denser voxels is wrong and would erase tissue."""


def images_of(header: Dataset, fill: float, case: str | None) -> list[tuple[Dataset, np.ndarray]]:
    """Return the header and the physical values, float32 `[H, W]`, of each frame of a file.

    Args:
        header: With pixels; they are taken out of it.
        fill: Physical value of padding voxels.
        case: For messages.

    Raises:
        DataError: If there are no pixels, no decoder for them, or a rescaling is no number.
    """
    count = frame_count(header)
    stored, rescaled = _stored(header, count > 0, case)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        header.pop(keyword, None)
    if stored.ndim == 3 and stored.shape[0] == 1 and not count:
        stored = stored[0]
    if stored.ndim != (3 if count else 2) or (count and len(stored) != count):
        raise bad("a slice must be one grey image", header, case, "x".join(map(str, stored.shape)))
    if not count:
        return [(header, _physical(stored, header, header, rescaled, fill, case))]
    file = getattr(header, "filename", None)
    found = []
    for number in range(count):
        own = frame_header(header, number)
        own.filename = file
        found.append((own, _physical(stored[number], own, header, False, fill, case)))
    return found


def bad(
    rule: str, header: Dataset, case: str | None, found: object, remedy: str | None = None
) -> DataError:
    """Return the error about the file of a header."""
    name = getattr(header, "filename", None)
    return DataError(rule, case=case, file=str(name) if name else None, found=found, remedy=remedy)


def _stored(header: Dataset, many: bool, case: str | None) -> tuple[np.ndarray, bool]:
    """Return the pixels `[H, W]` or `[frames, H, W]`, and whether they are rescaled already."""
    from pydicom.pixels.utils import pixel_array

    try:
        # Not the property of the header, which would keep a copy.
        stored = pixel_array(header)
        return (stored[None] if many and stored.ndim == 2 else stored), False
    except Exception as error:  # a decoder is missing, or the data are damaged
        text = " ".join(str(error).split())[:200]
        syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
        remedy = "copy or export the series again"
        if syntax is not None and syntax.is_compressed:
            remedy = f"{syntax.name}: pip install 'pylibjpeg[all]', or export it uncompressed"
            through = None if many or "missing dependencies" not in text else _simpleitk(header)
            if through is not None:
                return through, True
        raise bad("the pixels must be readable", header, case, text, remedy) from error


def _simpleitk(header: Dataset) -> np.ndarray | None:
    """Return the rescaled image, or nothing: SimpleITK brings decoders that pydicom lacks."""
    try:
        import SimpleITK
    except ImportError:
        return None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(header.filename)))
    except RuntimeError:
        return None


def _physical(
    stored: np.ndarray,
    header: Dataset,
    image: Dataset,
    rescaled: bool,
    fill: float,
    case: str | None,
) -> np.ndarray:
    """Return slope x pixel + intercept, padding as `fill`; `image` describes the pixels."""
    slope, intercept = _rescale(header, case)
    values = stored.astype(np.float32)
    if not rescaled:
        values *= np.float32(slope)
        values += np.float32(intercept)
    padding = _padding(image, case)
    if padding is not None:
        low, high = sorted(slope * value + intercept for value in padding)
        if not (fill < 0 and high > _LOSSY_AIR):
            if not rescaled:
                values[(stored >= padding[0]) & (stored <= padding[1])] = fill
            else:
                values[(values >= low) & (values <= high)] = fill
    if not np.isfinite(values).all():
        raise bad("voxels must be finite numbers", header, case, "NaN or infinity")
    return values


def _padding(header: Dataset, case: str | None) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that mean padding, if there are any.

    Some write the value of a signed image as unsigned, or the other way round.
    """
    value = header.get("PixelPaddingValue")
    if value in (None, ""):
        return None
    signed, span = header.get("PixelRepresentation") == 1, 1 << int(header.get("BitsStored", 16))
    ends = []
    for one in (value, header.get("PixelPaddingRangeLimit", value)):
        try:
            end = int(one)
        except (TypeError, ValueError):
            raise bad("PixelPaddingValue must be a number", header, case, str(one)[:40]) from None
        if signed and end >= span // 2:
            end -= span
        elif not signed and end < 0:
            end += span
        ends.append(end)
    return min(ends), max(ends)


def _rescale(header: Dataset, case: str | None) -> tuple[float, float]:
    found = []
    for tag, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        value = header.get(tag)
        try:
            number = default if value in (None, "") else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number) or (tag == "RescaleSlope" and number == 0):
            raise bad(f"{tag} must be a number that scales", header, case, value)
        found.append(number)
    return found[0], found[1]
