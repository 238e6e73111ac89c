"""Values of a mask that are no class: drawing programs' 255, percent, truth as 65535, NaN.

255 means unknown in hilum (`core.case.IGNORE`), and 255 is what drawing programs and image
libraries write for a mask. So a mask of 0 and 255 only is refused at every door, in every split,
rather than lose its nodes; `values` says what the numbers of such a mask mean.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE
from hilum.core.errors import DataError, SettingsError

CLOSE = 1e-3
"""How near a value must be to one of the table: 0.996 stands for 0.99607843."""
MOST_INSIDE = 0.5
"""Fraction of a mask that marked voxels may fill, where they also fill its corners."""

Values = Mapping[float, int]

MOST_VALUES = 6
"""More values than this come from interpolation, not from classes."""


def read_values(texts: Iterable[str]) -> dict[float, int]:
    """Return what values of masks mean, of texts such as `255=1` and `nan=0`.

    Raises:
        SettingsError: If a text is something else, or a class is none.
    """
    found: dict[float, int] = {}
    for text in texts:
        before, _, after = text.partition("=")
        try:
            value, meaning = float(before), int(after)
        except ValueError:
            raise SettingsError(
                "a value must be written VALUE=CLASS", found=repr(text), remedy="as in 255=1"
            ) from None
        if not 0 <= meaning <= IGNORE:
            raise SettingsError(
                f"a class must be 0 to {IGNORE}", found=text, remedy="as in 7=1; 255 is unknown"
            )
        found[value] = meaning
    return found


def with_values(array: np.ndarray, values: Values) -> np.ndarray:
    """Return a mask with its values replaced, all at once.

    255 is replaced only in a mask that marks nothing else: next to classes it means unknown.
    """
    if not values:
        return array
    result = array.copy()
    only = array.dtype.kind == "f" or set(np.unique(array).tolist()) <= {0, IGNORE}
    for value, meaning in values.items():
        if value != value:
            result[np.isnan(array)] = meaning
        elif np.isinf(value):
            result[array == value] = meaning
        elif value != IGNORE or only:
            result[np.abs(array.astype(np.float64, copy=False) - value) < CLOSE] = meaning
    return result


def remedy_for(values: Iterable[float]) -> str:
    """Return the options that make classes of odd values, ready to be pasted."""
    odd = list(dict.fromkeys(values))
    marks = sorted(v for v in odd if np.isfinite(v) and v > 0)
    options = [f"--value {_short(v)}={n}" for n, v in enumerate(marks, 1)]
    options += [f"--value={_short(v)}={IGNORE}" for v in odd if np.isfinite(v) and v < 0]
    options += [f"--value={v:g}=0" for v in odd if np.isinf(v)]
    options += ["--value nan=0"] if any(v != v for v in odd) else []
    return " ".join(options)


def whole_numbers(array: np.ndarray, path: str | Path, case: str | None) -> np.ndarray:
    """Return the values of a mask as uint8, or int16 if one exceeds 255.

    Raises:
        DataError: If a value is no whole number from 0 to 32767.
    """
    whole = np.True_
    if array.dtype.kind == "f":
        # A mask that a tool stored with a scaling comes back as 0.9999999 for 1.
        with np.errstate(invalid="ignore"):
            whole = np.abs(array - np.round(array)) < 1e-4
    fits = whole & (array > -0.5) & (array < 32767.5)
    if not fits.all():
        raise DataError(
            "a label must hold whole numbers from 0 on",
            case=case,
            file=path,
            found=f"{array[~fits].flat[0]:g} and the like in {np.sum(~fits)} voxels",
            remedy="export the mask as integers, background 0, never resampled linearly"
            + _values_remedy(array),
        )
    small = array.max() < 256
    array = np.round(array) if array.dtype.kind == "f" else array
    return array.astype(np.uint8 if small else np.int16, copy=False)


def _values_remedy(array: np.ndarray) -> str:
    """Return what to do about values that are no classes, if they are few."""
    found = np.unique(array)
    # NaN counts once or often, by the version of numpy.
    odd = [float(v) for v in found[: MOST_VALUES + 1] if v != 0]
    if not odd or len(found) > MOST_VALUES:
        return ""
    return "; " + how(remedy_for(odd), "if its values mark classes")


def _short(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"


def refuse_sentinels(
    array: np.ndarray, case: str | None, file: str | Path | None, what: str = "the label"
) -> None:
    """Refuse a mask that marks nothing but unknown, or everything but the nodes.

    Args:
        array: Whole numbers `[D, H, W]`.
        case: For messages.
        file: For messages.
        what: Name of the mask in messages.

    Raises:
        DataError: With the option that says what the values mean.
    """
    unknown = array == IGNORE
    if unknown.any() and not ((array > 0) & ~unknown).any():
        raise DataError(
            f"{what} must hold a class beside {IGNORE}, which means unknown",
            case=case,
            file=file,
            found=f"{np.count_nonzero(unknown)} voxels of {IGNORE}, all others 0",
            remedy=how(f"--value {IGNORE}=1", f"if {IGNORE} marks nodes"),
        )
    corners = array[:: max(array.shape[0] - 1, 1), :: max(array.shape[1] - 1, 1)]
    corners = corners[..., :: max(array.shape[2] - 1, 1)]
    if corners.min() > 0 and corners.max() != IGNORE and min(array.shape) > 1:
        share = float(np.mean(array > 0))
        if MOST_INSIDE < share < 1:
            value = int(corners.flat[0])
            raise DataError(
                f"{what} must mark nodes, not all around them",
                case=case,
                file=file,
                found=f"{share:.0%} of the voxels marked, all corners among them",
                remedy=how(f"--value {value}=0 --value 0=1", "if the mask is inverted"),
            )


def pasted(text: str, manifest: str | Path) -> str:
    """Return a remedy with the manifest that it is about."""
    return text.replace("MANIFEST", shlex.quote(str(manifest)))


def how(options: str, when: str) -> str:
    """Return the remedy: the options, and the command where there is a manifest already."""
    return (
        f"{when}, import again with {options} (of a manifest: "
        f"hilum import table MANIFEST --out fixed {options})"
    )
